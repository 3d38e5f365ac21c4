#include "bindings/torch/gradient_arena.h"

#include <ATen/ops/from_blob.h>
#include <c10/util/accumulate.h>

#include <algorithm>

#include "bindings/torch/tensor_facts.h"

namespace hvd {

GradientArena::GradientArena(std::unique_ptr<ArenaEpochs> arena, const std::vector<at::Tensor>& parameters)
    : arena_(std::move(arena)) {
  for (const at::Tensor& parameter : parameters) {
    options_.push_back(at::TensorOptions(parameter.device()).dtype(parameter.scalar_type()));
    shapes_.push_back(parameter.sizes().vec());
  }
  open_lender();
  for (std::size_t i = 0; i < shapes_.size(); ++i) slots_.push_back(make_slot(i));
}

void GradientArena::open_lender() {
  std::vector<SlotLender::Slot> slots;
  for (std::size_t i = 0; i < shapes_.size(); ++i) {
    slots.push_back(
        {arena_->plan().begin_bytes[i],
         static_cast<std::size_t>(c10::multiply_integers(shapes_[i])) * options_[i].dtype().itemsize()});
  }
  const MappedMemory& memory = epochs().own_memory();
  lender_ = SlotLender::open(memory, static_cast<std::size_t>(epochs().payload() - memory.data),
                             epochs().plan().payload_bytes, slots);
  if (lender_) lender_->begin_epoch();
}

std::byte* GradientArena::memory_of(std::size_t index) const {
  return lender_ ? lender_->at(index) : arena_->memory_of(index);
}

// Not a view, or zero_grad(false) would refuse it.
at::Tensor GradientArena::make_slot(std::size_t index) const {
  return at::from_blob(
      memory_of(index), shapes_[index],
      [mapping = epochs().own_memory().mapping, lender = lender_](void*) { static_cast<void>(mapping); },
      options_[index]);
}

bool GradientArena::is_slot(std::size_t index, const at::Tensor& tensor) const {
  return contains(tensor) && tensor.const_data_ptr() == slots_[index].const_data_ptr() &&
         tensor.is_contiguous() && tensor.sizes() == slots_[index].sizes() &&
         tensor.scalar_type() == slots_[index].scalar_type();
}

bool GradientArena::contains(const at::Tensor& tensor) const {
  if (!tensor.defined() || tensor.layout() != c10::kStrided || tensor.numel() == 0) return false;
  if (lender_) return lender_->contains(tensor.const_data_ptr());
  const auto* const at = static_cast<const std::byte*>(tensor.const_data_ptr());
  const std::byte* const begin = epochs().payload();
  return at >= begin && at < begin + epochs().plan().payload_bytes;
}

// p.grad.set_data() moves the slot's tensor elsewhere.
void GradientArena::renew_slot(std::size_t index) {
  const at::Tensor& slot = slots_[index];
  const bool is_there = slot.layout() == c10::kStrided && slot.const_data_ptr() == memory_of(index) &&
                        slot.sizes() == shapes_[index] && slot.dtype() == options_[index].dtype() &&
                        slot.is_contiguous();
  if (!is_there) slots_[index] = make_slot(index);
}

bool GradientArena::has_come_in_place(std::size_t index, const at::Tensor& piece, bool is_alone) {
  if (!lender_) return false;
  renew_slot(index);
  const bool fits = is_alone && is_dense_like(piece, slots_[index]) && is_plain_memory(piece);
  const void* const data = fits ? piece.const_data_ptr() : nullptr;
  lender_->learn(index, data);
  lender_->seal(index);
  return fits && lender_->is_lent(index) && data == lender_->at(index);
}

void GradientArena::begin_epoch() {
  arena_->begin_epoch();
  if (lender_) lender_->begin_epoch();
}

void GradientArena::prepare_write(std::size_t index, std::initializer_list<const at::Tensor*> known) {
  if (lender_) {
    lender_->seal(index);
    if (lender_->is_lent(index)) take_back(index);
  }
  renew_slot(index);
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

void GradientArena::take_back(std::size_t index) {
  if (!is_free(index)) detach_holders(index);
  lender_->take_back(index);
  slots_[index] = make_slot(index);
}

void GradientArena::let_go() {
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].use_count() > 1) detach_holders(i);
  }
  if (lender_) lender_->close();
}

}  // namespace hvd
