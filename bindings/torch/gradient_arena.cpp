#include "bindings/torch/gradient_arena.h"

#include <ATen/ops/from_blob.h>

#include <algorithm>

namespace hvd {

GradientArena::GradientArena(std::shared_ptr<Epochs> epochs, ArenaPlan plan,
                             const std::vector<at::Tensor>& parameters)
    : epochs_(std::move(epochs)), plan_(std::move(plan)) {
  for (const at::Tensor& parameter : parameters) {
    options_.push_back(at::TensorOptions(parameter.device()).dtype(parameter.scalar_type()));
    shapes_.push_back(parameter.sizes().vec());
  }
  for (std::size_t i = 0; i < shapes_.size(); ++i) slots_.push_back(make_slot(i));
  begin_epoch();
}

// Not a view, or zero_grad(false) would refuse it.
at::Tensor GradientArena::make_slot(std::size_t index) const {
  return at::from_blob(
      epochs_->payload() + plan_.begin_bytes[index], shapes_[index],
      [mapping = epochs_->mapping()](void*) { static_cast<void>(mapping); }, options_[index]);
}

bool GradientArena::is_slot(std::size_t index, const at::Tensor& tensor) const {
  return contains(tensor) && tensor.const_data_ptr() == slots_[index].const_data_ptr() &&
         tensor.is_contiguous() && tensor.sizes() == slots_[index].sizes() &&
         tensor.scalar_type() == slots_[index].scalar_type();
}

bool GradientArena::contains(const at::Tensor& tensor) const {
  if (!tensor.defined() || tensor.layout() != c10::kStrided || tensor.numel() == 0) return false;
  const auto* const at = static_cast<const std::byte*>(tensor.const_data_ptr());
  const std::byte* const begin = epochs_->payload();
  return at >= begin && at < begin + plan_.epochs.payload_bytes;
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

void GradientArena::arrive(std::size_t index) {
  epochs_->own_flags()[plan_.flag[index]] = std::byte{1};
  const std::size_t bucket = plan_.bucket[index];
  if (--missing_[bucket] == 0) epochs_->publish(bucket);
}

void GradientArena::begin_epoch() {
  missing_.clear();
  for (const EpochBucket& bucket : plan_.epochs.buckets) missing_.push_back(bucket.flag_count);
  std::fill(epochs_->own_flags().begin(), epochs_->own_flags().end(), std::byte{0});
}

void GradientArena::let_go() {
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].use_count() > 1) detach_holders(i);
  }
}

}  // namespace hvd
