// GradientArena: the gradients of one exchange as tensors in memory that all ranks of the host map, and reduce where they lie (ArenaEpochs).
//
// Each gradient has a slot, a tensor that p.grad becomes. A tensor of a slot keeps the memory; it may outlive everything else.
// Slots obey the memory rule of epochs.h. A slot that somebody else still holds (a user who has kept p.grad) is not written: who holds it
// gets memory of his own.
// Not thread-safe: the exchange's mutex covers it, but for epochs() and rounds().wait().
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "bindings/torch/arena_epochs.h"

namespace hvd {

class GradientArena {
 public:
  // `parameters` give shapes and types; they are the gradients of `arena`, in that order.
  GradientArena(std::unique_ptr<ArenaEpochs> arena, const std::vector<at::Tensor>& parameters);

  ArenaEpochs& rounds() const { return *arena_; }
  Epochs& epochs() const { return arena_->epochs(); }

  const at::Tensor& slot(std::size_t index) const { return slots_[index]; }
  // Whether `tensor` (may be undefined) is this slot, under whatever name.
  bool is_slot(std::size_t index, const at::Tensor& tensor) const;
  // Whether it lies in the arena.
  bool contains(const at::Tensor& tensor) const;
  // The slot is about to be written. `known`: the tensors through which the caller holds it.
  void prepare_write(std::size_t index, std::initializer_list<const at::Tensor*> known);
  // From now on nothing that others see lies in the arena: they get memory of their own.
  void let_go();

 private:
  at::Tensor make_slot(std::size_t index) const;
  void detach_holders(std::size_t index);

  const std::unique_ptr<ArenaEpochs> arena_;
  std::vector<c10::TensorOptions> options_;
  std::vector<std::vector<std::int64_t>> shapes_;
  std::vector<at::Tensor> slots_;
};

}  // namespace hvd
