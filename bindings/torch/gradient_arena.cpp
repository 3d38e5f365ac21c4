#include "bindings/torch/gradient_arena.h"

#include <ATen/ops/from_blob.h>

#include <algorithm>

namespace hvd {

GradientArena::GradientArena(std::unique_ptr<ArenaEpochs> arena, const std::vector<at::Tensor>& parameters)
    : arena_(std::move(arena)) {
  for (const at::Tensor& parameter : parameters) {
    options_.push_back(at::TensorOptions(parameter.device()).dtype(parameter.scalar_type()));
    shapes_.push_back(parameter.sizes().vec());
  }
  for (std::size_t i = 0; i < shapes_.size(); ++i) slots_.push_back(make_slot(i));
}

// Not a view, or zero_grad(false) would refuse it.
at::Tensor GradientArena::make_slot(std::size_t index) const {
  return at::from_blob(
      arena_->memory_of(index), shapes_[index],
      [mapping = epochs().mapping()](void*) { static_cast<void>(mapping); }, options_[index]);
}

bool GradientArena::is_slot(std::size_t index, const at::Tensor& tensor) const {
  return contains(tensor) && tensor.const_data_ptr() == slots_[index].const_data_ptr() &&
         tensor.is_contiguous() && tensor.sizes() == slots_[index].sizes() &&
         tensor.scalar_type() == slots_[index].scalar_type();
}

bool GradientArena::contains(const at::Tensor& tensor) const {
  if (!tensor.defined() || tensor.layout() != c10::kStrided || tensor.numel() == 0) return false;
  const auto* const at = static_cast<const std::byte*>(tensor.const_data_ptr());
  const std::byte* const begin = epochs().payload();
  return at >= begin && at < begin + epochs().plan().payload_bytes;
}

void GradientArena::prepare_write(std::size_t index, std::initializer_list<const at::Tensor*> known) {
  const at::Tensor& slot = slots_[index];
  const auto own = std::count_if(known.begin(), known.end(), [&](const at::Tensor* tensor) {
    return tensor->unsafeGetTensorImpl() == slot.unsafeGetTensorImpl();
  });
  if (slot.use_count() > static_cast<std::size_t>(own) + 1) detach_holders(index);
}

void GradientArena::detach_holders(std::size_t index) {
  at::Tensor held = std::move(slots_[index]);
  held.set_data(held.clone());
  slots_[index] = make_slot(index);
}

void GradientArena::let_go() {
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].use_count() > 1) detach_holders(i);
  }
}

}  // namespace hvd
