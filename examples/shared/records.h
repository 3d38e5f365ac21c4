// What a run writes so that it can be compared with another one, bit by bit.
#pragma once

#include <ATen/core/Tensor.h>

#include <fstream>
#include <string>
#include <vector>

namespace examples {

// A file with one loss a line, 17 digits. Written by rank 0 only; an empty name: by nobody.
class LossLog {
 public:
  // Throws std::runtime_error if the file cannot be written.
  explicit LossLog(const std::string& file);
  void write(double loss);

 private:
  std::ofstream out_;
};

// Prints "rank 1 parameters 0123456789abcdef": another number if any bit of any parameter is another.
void print_parameters_digest(const std::vector<at::Tensor>& parameters);

}  // namespace examples
