#include "examples/char_gpt_model.h"

#include <cmath>
#include <stdexcept>

namespace char_gpt {
namespace {

constexpr double kDeviation = 0.5;  // of what a sum with initial weights gives

torch::nn::Linear linear(std::int64_t inputs, std::int64_t outputs) {
  return torch::nn::Linear(torch::nn::LinearOptions(inputs, outputs).bias(false));
}

torch::nn::LayerNorm layer_norm(const Shape& shape) {
  return torch::nn::LayerNorm(torch::nn::LayerNormOptions({shape.width}));
}

}  // namespace

std::string to_string(const Shape& shape) {
  return "vocabulary " + std::to_string(shape.vocabulary) + ", context " + std::to_string(shape.context) +
         ", width " + std::to_string(shape.width) + ", layers " + std::to_string(shape.layers) + ", heads " +
         std::to_string(shape.heads);
}

AttentionImpl::AttentionImpl(const Shape& shape) : heads(shape.heads) {
  query_key_value = register_module("query_key_value", linear(shape.width, 3 * shape.width));
  projection = register_module("projection", linear(shape.width, shape.width));
}

torch::Tensor AttentionImpl::forward(const torch::Tensor& x) {
  const auto batch = x.size(0);
  const auto time = x.size(1);
  const auto width = x.size(2);
  // [query key value, batch, heads, time, width of a head]
  const auto parts =
      query_key_value->forward(x).view({batch, time, 3, heads, width / heads}).permute({2, 0, 3, 1, 4});
  const auto seen = torch::scaled_dot_product_attention(parts[0], parts[1], parts[2], /*attn_mask=*/{},
                                                        /*dropout_p=*/0, /*is_causal=*/true);
  return projection->forward(seen.transpose(1, 2).reshape({batch, time, width}));
}

BlockImpl::BlockImpl(const Shape& shape, double dropout) : dropout(dropout) {
  attention_norm = register_module("attention_norm", layer_norm(shape));
  attention = register_module("attention", Attention(shape));
  expansion_norm = register_module("expansion_norm", layer_norm(shape));
  expansion = register_module("expansion", linear(shape.width, 4 * shape.width));
  contraction = register_module("contraction", linear(4 * shape.width, shape.width));
}

torch::Tensor BlockImpl::forward(torch::Tensor x) {
  const auto dropped = [this](const torch::Tensor& y) { return torch::dropout(y, dropout, is_training()); };
  x = x + dropped(attention->forward(attention_norm->forward(x)));
  return x + dropped(contraction->forward(torch::gelu(expansion->forward(expansion_norm->forward(x)))));
}

ModelImpl::ModelImpl(const Shape& shape, double dropout) : shape(shape) {
  if (shape.width % shape.heads != 0) {
    throw std::invalid_argument("--width " + std::to_string(shape.width) + " is not a multiple of --heads " +
                                std::to_string(shape.heads));
  }
  embedding = register_module("embedding", torch::nn::Embedding(shape.vocabulary, shape.width));
  position = register_module("position", torch::nn::Embedding(shape.context, shape.width));
  register_module("blocks", blocks);
  for (std::int64_t i = 0; i < shape.layers; ++i) blocks->push_back(Block(shape, dropout));
  norm = register_module("norm", layer_norm(shape));

  const torch::NoGradGuard no_grad;
  for (auto& parameter : named_parameters()) {
    if (parameter->dim() < 2) continue;
    // What is added to x is smaller, so that x does not grow with the number of layers.
    const bool is_added =
        parameter.key().ends_with("projection.weight") || parameter.key().ends_with("contraction.weight");
    const auto terms = parameter->size(1) * (is_added ? 2 * shape.layers : 1);
    parameter->normal_(0, kDeviation / std::sqrt(static_cast<double>(terms)));
  }
}

torch::Tensor ModelImpl::forward(const torch::Tensor& characters) {
  auto x = embedding->forward(characters) + position->weight.slice(0, 0, characters.size(1));
  for (const auto& block : *blocks) x = block->as<Block>()->forward(x);
  return torch::linear(norm->forward(x), embedding->weight);
}

}  // namespace char_gpt
