// One file with everything that a run needs to go on: model, optimizer and how far it came. Rank 0 writes and
// reads it; a run may go on with another number of ranks.
#pragma once

#include <torch/nn/module.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <string>

namespace examples {

// Call it on rank 0. The file is renamed when complete: a run that is cut never leaves half a checkpoint.
// `made_for` says in words what the model looks like.
void save_checkpoint(const std::string& file, const torch::nn::Module& model,
                     const torch::optim::Optimizer& optimizer, std::int64_t done,
                     const std::string& made_for = "");

// Collective: rank 0 reads, and all ranks get model and optimizer. Returns `done`. Throws std::runtime_error on
// every rank if there is no such file, or if it was made for something else.
std::int64_t load_checkpoint(const std::string& file, torch::nn::Module& model,
                             torch::optim::Optimizer& optimizer, const std::string& made_for = "");

}  // namespace examples
