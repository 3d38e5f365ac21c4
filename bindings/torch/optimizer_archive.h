// An optimizer's state (momenta, step counts, …) and the options of its groups, as bytes.
#pragma once

#include <torch/optim/optimizer.h>

#include <cstddef>
#include <string>

namespace hvd {

// What the optimizer's save() writes.
std::string archive_of(torch::optim::Optimizer& optimizer);
// Takes the place of all state that it has; tensors come to the device of its parameters. Throws std::invalid_argument if the optimizer's
// save() wrote nothing, c10::Error if the bytes are of another optimizer.
void load_archive(torch::optim::Optimizer& optimizer, const char* bytes, std::size_t count);

}  // namespace hvd
