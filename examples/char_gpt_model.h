// A small decoder-only transformer: from the characters so far to the probabilities of the next one.
//
//   embedding + position ─► [ x += attention(norm(x)); x += two_layers(norm(x)) ] × layers ─► norm ─► logits
//
// Norms come before what they feed (pre-norm), positions are learned, linear layers have no bias, and the
// logits use the embedding's own matrix (tied weights).
#pragma once

#include <torch/torch.h>

#include <string>

namespace char_gpt {

struct Shape {
  std::int64_t vocabulary = 0;
  std::int64_t context = 64;  // characters that the model sees at most
  std::int64_t width = 192;   // of the vector that stands for a character; a multiple of heads
  std::int64_t layers = 4;
  std::int64_t heads = 6;
};
// "vocabulary 95, context 64, width 192, layers 4, heads 6"
std::string to_string(const Shape& shape);

struct AttentionImpl : torch::nn::Module {
  explicit AttentionImpl(const Shape& shape);
  // [batch, time, width] → the same; a position sees itself and those before.
  torch::Tensor forward(const torch::Tensor& x);

  std::int64_t heads;
  torch::nn::Linear query_key_value{nullptr};
  torch::nn::Linear projection{nullptr};
};
TORCH_MODULE(Attention);

struct BlockImpl : torch::nn::Module {
  BlockImpl(const Shape& shape, double dropout);
  torch::Tensor forward(torch::Tensor x);

  double dropout;
  torch::nn::LayerNorm attention_norm{nullptr};
  Attention attention{nullptr};
  torch::nn::LayerNorm expansion_norm{nullptr};
  torch::nn::Linear expansion{nullptr};
  torch::nn::Linear contraction{nullptr};
};
TORCH_MODULE(Block);

struct ModelImpl : torch::nn::Module {
  explicit ModelImpl(const Shape& shape, double dropout = 0);
  // Numbers of characters, int64 [batch, time], time ≤ context → logits [batch, time, vocabulary].
  torch::Tensor forward(const torch::Tensor& characters);

  Shape shape;
  torch::nn::Embedding embedding{nullptr};
  torch::nn::Embedding position{nullptr};
  torch::nn::ModuleList blocks;
  torch::nn::LayerNorm norm{nullptr};
};
TORCH_MODULE(Model);

}  // namespace char_gpt
