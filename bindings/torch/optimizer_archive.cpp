#include "bindings/torch/optimizer_archive.h"

#include <torch/optim/lbfgs.h>
#include <torch/serialize/archive.h>

#include <optional>
#include <stdexcept>
#include <typeinfo>

#include "horovod_cpp/base/text.h"

namespace hvd {
namespace {

using torch::optim::Optimizer;

// LBFGS keeps a vector that every step fills before it reads it. Its unused end has undefined tensors, which an archive cannot hold.
void drop_scratch(Optimizer& optimizer) {
  for (auto& [parameter, state] : optimizer.state()) {
    if (auto* const lbfgs = dynamic_cast<torch::optim::LBFGSParamState*>(state.get()))
      lbfgs->al(std::nullopt);
  }
}

// The device of all parameters; nothing if there are several.
std::optional<c10::Device> only_device(const Optimizer& optimizer) {
  std::optional<c10::Device> device;
  for (const auto& group : optimizer.param_groups()) {
    for (const at::Tensor& parameter : group.params()) {
      if (device && *device != parameter.device()) return std::nullopt;
      device = parameter.device();
    }
  }
  return device;
}

}  // namespace

std::string archive_of(Optimizer& optimizer) {
  drop_scratch(optimizer);
  torch::serialize::OutputArchive archive;
  optimizer.save(archive);
  std::string bytes;
  archive.save_to([&bytes](const void* data, std::size_t size) {
    bytes.append(static_cast<const char*>(data), size);
    return size;
  });
  return bytes;
}

void load_archive(Optimizer& optimizer, const char* bytes, std::size_t count) {
  torch::serialize::InputArchive archive;
  archive.load_from(bytes, count, only_device(optimizer));
  if (archive.keys().empty()) {
    throw std::invalid_argument(
        text("its save() writes nothing: override save() and load() of ", typeid(optimizer).name()));
  }
  optimizer.state().clear();
  optimizer.load(archive);
}

}  // namespace hvd
