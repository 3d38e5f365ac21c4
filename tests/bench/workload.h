// What is timed: reducing the gradients of one training step, as the backward pass produces them, or the whole step of a small model.
#pragma once

#include <string>
#include <vector>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/types.h"

namespace hvd::bench {

struct NamedShape {
  std::string name;
  Shape shape;
};

struct Workload {
  std::string name;
  std::vector<NamedShape> tensors;  // float32, in the order of readiness

  std::size_t element_count() const;
  // A training step, forward to update, or the end of one: `tensors` are the model's parameters.
  bool is_step() const;
  // "768 tokens a rank": what a step looks at. Empty for others.
  std::string batch;
};

// ResNet-50 for 1,000 classes (He et al., "Deep Residual Learning for Image Recognition", 2015, table 1;
// batch normalisation after each convolution, biases only there and in the last layer): 161 tensors,
// 25,557,032 parameters, last layer first.
Workload resnet50();
// GPT-2 small (Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, table 2: 12 layers, width 768, 1,024 tokens,
// vocabulary 50,257; logits share the embedding's matrix): 148 tensors, 124,439,808 parameters, last layer first, the embeddings at the end.
Workload gpt2();
// 1,000 tensors of 1 KiB.
Workload many_small();
// One tensor of `elements`.
Workload single(std::size_t elements);

// Steps. A fully connected network 784-1024-1024-10, 64 images a rank; and examples/char_gpt with its default shape and 96 characters, 12
// pieces of 64 characters a rank.
Workload mlp_step();
Workload char_gpt_step();
// The end of a step of a model with GPT-2's parameters: gradients are there, they are reduced, and AdamW updates the parameters.
Workload gpt2_adamw();
inline constexpr const char* kGpt2AdamW = "gpt2-adamw";

// "resnet50", "gpt2", "many-small", "mlp", "char_gpt", "gpt2-adamw" or "single:ELEMENTS".
Result<Workload> workload_named(const std::string& name);
// The names that a list asks for, where "sweep" stands for one tensor of 1 KiB, 4 KiB … 256 MiB. Errors: invalid_argument names the word.
Result<std::vector<std::string>> workload_names(const std::vector<std::string>& words);
// One line a tensor: the name and the shape, "a 3 4".
std::string to_lines(const std::vector<NamedShape>& tensors);

}  // namespace hvd::bench
