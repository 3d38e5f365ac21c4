#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include "bindings/torch/slot_lender.h"

namespace hvd {

// Between LibTorch and its allocator. Like that one it makes pointers whose context is the memory itself.
class LendingAllocator final : public c10::Allocator {
 public:
  explicit LendingAllocator(c10::Allocator* below) : below_(below) {}

  c10::DataPtr allocate(std::size_t bytes) override {
    std::byte* const lent = SlotLender::borrow(bytes);
    c10::DataPtr memory = lent == nullptr
                              ? below_->allocate(bytes)
                              : c10::DataPtr(lent, lent, &end_loan, c10::Device(c10::DeviceType::CPU));
    SlotLender::note(memory.get(), bytes);
    return memory;
  }
  // Of both kinds of memory.
  c10::DeleterFnPtr raw_deleter() const override { return &free_any; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    below_->copy_data(to, from, bytes);
  }

 private:
  static LendingAllocator* installed_;
  friend void install_lending_allocator();

  static void end_loan(void* memory) { SlotLender::give_back(memory); }
  static void free_any(void* memory) {
    if (!SlotLender::give_back(memory)) installed_->below_->raw_deallocate(memory);
  }

  c10::Allocator* const below_;
};

LendingAllocator* LendingAllocator::installed_ = nullptr;

void install_lending_allocator() {
  static const bool is_installed = [] {
    // Never destroyed: tensors' storages refer to it.
    LendingAllocator::installed_ = new LendingAllocator(c10::GetCPUAllocator());
    c10::SetCPUAllocator(LendingAllocator::installed_);
    return true;
  }();
  static_cast<void>(is_installed);
}

}  // namespace hvd
