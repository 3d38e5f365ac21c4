#include "examples/shared/records.h"

#include <horovod_cpp/torch/context.h>

#include <cstdint>
#include <cstdio>
#include <stdexcept>

namespace examples {

LossLog::LossLog(const std::string& file) {
  if (hvd::rank() != 0 || file.empty()) return;
  out_.open(file);
  if (!out_) throw std::runtime_error("cannot write --loss-log " + file);
  out_.precision(17);
}

void LossLog::write(double loss) {
  if (out_.is_open()) out_ << loss << '\n';
}

void print_parameters_digest(const std::vector<at::Tensor>& parameters) {
  std::uint64_t hash = 14695981039346656037U;
  for (const auto& parameter : parameters) {
    const auto values = parameter.detach().contiguous();
    const auto* bytes = static_cast<const unsigned char*>(values.const_data_ptr());
    for (std::size_t i = 0; i < values.nbytes(); ++i) hash = (hash ^ bytes[i]) * 1099511628211U;
  }
  std::printf("rank %d parameters %016llx\n", hvd::rank(), static_cast<unsigned long long>(hash));
  std::fflush(stdout);
}

}  // namespace examples
