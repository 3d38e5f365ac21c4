// GradientArena: the gradients of one exchange in memory that all ranks of the host map, and reduce where they lie (Epochs).
//
// Each gradient has a slot, a tensor that p.grad becomes. A tensor of a slot keeps the memory; it may outlive everything else.
// Slots obey the memory rule of epochs.h. A slot that somebody else still holds (a user who has kept p.grad) is not written: who holds it
// gets memory of his own.
// Not thread-safe: the exchange's mutex covers it, but for epochs().
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "bindings/torch/arena_plan.h"
#include "horovod_cpp/coordinator/epochs.h"

namespace hvd {

class GradientArena {
 public:
  // `parameters` give shapes and types; `epochs` was opened for plan.epochs.
  GradientArena(std::shared_ptr<Epochs> epochs, ArenaPlan plan, const std::vector<at::Tensor>& parameters);

  Epochs& epochs() const { return *epochs_; }
  const ArenaPlan& plan() const { return plan_; }

  const at::Tensor& slot(std::size_t index) const { return slots_[index]; }
  // Whether `tensor` (may be undefined) is this slot, under whatever name.
  bool is_slot(std::size_t index, const at::Tensor& tensor) const;
  // Whether it lies in the arena.
  bool contains(const at::Tensor& tensor) const;
  // The slot is about to be written. `known`: the tensors through which the caller holds it.
  void prepare_write(std::size_t index, std::initializer_list<const at::Tensor*> known);
  // The slot holds this epoch's gradient. Publishes its bucket if that is complete.
  void arrive(std::size_t index);

  // After an outcome. The next epoch may begin then.
  bool is_used_somewhere(std::size_t index) const { return epochs_->is_used(plan_.flag[index]); }
  void begin_epoch();

  // From now on nothing that others see lies in the arena: they get memory of their own.
  void let_go();

 private:
  at::Tensor make_slot(std::size_t index) const;
  void detach_holders(std::size_t index);

  const std::shared_ptr<Epochs> epochs_;
  const ArenaPlan plan_;
  std::vector<c10::TensorOptions> options_;
  std::vector<std::vector<std::int64_t>> shapes_;
  std::vector<at::Tensor> slots_;
  std::vector<std::size_t> missing_;  // [bucket] gradients that have not arrived in this epoch
};

}  // namespace hvd
