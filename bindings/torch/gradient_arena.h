// GradientArena: the gradients of one exchange as tensors in memory that all ranks of the host map, and reduce where they lie (ArenaEpochs).
//
// Each gradient has a slot, a tensor that p.grad becomes. A tensor of a slot keeps the memory; it may outlive everything else.
// Slots obey the memory rule of epochs.h. A slot that somebody else still holds (a user who has kept p.grad) is not written: who holds it
// gets memory of his own. A large gradient is computed in its slot, where SlotLender has foreseen its allocation; others are copied there.
// Not thread-safe: the exchange's mutex covers it, but for epochs() and rounds().wait().
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "bindings/torch/arena_epochs.h"
#include "bindings/torch/slot_lender.h"

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
  // From the hook: `piece` has come for gradient `index`. Whether it lies in its slot already; if not, prepare_write() comes before the slot is
  // written. is_alone: nobody but the caller holds it.
  bool has_come_in_place(std::size_t index, const at::Tensor& piece, bool is_alone);
  // What is allocated from now on follows the gradient `index`. can_come(i): gradient i comes next in this epoch, if it comes.
  template <class CanCome>
  void foresee_after(std::size_t index, CanCome&& can_come) {
    if (!lender_) return;
    lender_->open_window(index, [&](std::size_t i) { return is_free(i) && can_come(i); });
  }
  // The next epoch begins.
  void begin_epoch();
  // The slot is about to be written. `known`: the tensors through which the caller holds it.
  void prepare_write(std::size_t index, std::initializer_list<const at::Tensor*> known);
  // From now on nothing that others see lies in the arena: they get memory of their own.
  void let_go();

 private:
  bool is_free(std::size_t index) const {
    return slots_[index].use_count() == 1 && slots_[index].storage().use_count() == 1;
  }
  std::byte* memory_of(std::size_t index) const;
  at::Tensor make_slot(std::size_t index) const;
  void detach_holders(std::size_t index);
  void renew_slot(std::size_t index);
  void open_lender();
  void take_back(std::size_t index);

  const std::unique_ptr<ArenaEpochs> arena_;
  std::shared_ptr<SlotLender> lender_;  // nullptr: memory cannot be mapped a second time
  std::vector<c10::TensorOptions> options_;
  std::vector<std::vector<std::int64_t>> shapes_;
  std::vector<at::Tensor> slots_;
};

}  // namespace hvd
