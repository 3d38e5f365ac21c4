// SlotLender: hands the memory of a gradient's slot to the operation that computes the gradient, so that nobody has to copy it there.
//
// Backward allocates the same tensors in the same order, step after step. What it allocates between two arrivals of gradients (a window) is
// noted; a gradient that comes in memory from a window has its slot lent to that allocation of the next backward. A guess can be wrong, for
// graphs change: take_back() leaves the borrower a private copy at the same address, and gives the slot another one.
//
// Lends only what is written next: from begin_epoch() until seal(). Only slots of kLeastBytesOnOwnPages and more, on pages of their own.
// Threading: a window is of the thread that opens it; loans begin and end on any thread, and what is lent may be written on any while it is
// taken back; the caller orders all other calls.
// Ownership: a loan keeps the lender, and so the mapping.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "horovod_cpp/ports/memory_exchange.h"

namespace hvd {

class SlotLender : public std::enable_shared_from_this<SlotLender> {
 public:
  struct Slot {
    std::size_t begin_bytes = 0;  // in the payload
    std::size_t bytes = 0;
  };

  // The payload, from `begin_bytes` of `memory` on, is mapped a second time. nullptr: it cannot be, or nothing could be taken back.
  static std::shared_ptr<SlotLender> open(MappedMemory memory, std::size_t begin_bytes,
                                          std::size_t payload_bytes, const std::vector<Slot>& slots);
  ~SlotLender();
  SlotLender(const SlotLender&) = delete;
  SlotLender& operator=(const SlotLender&) = delete;

  // Where the slot is; another address after take_back().
  std::byte* at(std::size_t slot) const { return places_[slot].at; }
  // Also what was a slot once, and has been left to a borrower.
  bool contains(const void* address) const;

  void begin_epoch();
  // No loan of it from now on in this epoch.
  void seal(std::size_t slot);
  bool is_lent(std::size_t slot) const;
  // Throws std::bad_alloc if there is no memory for the borrower's copy: then the slot must not be written.
  void take_back(std::size_t slot);
  // No loans any more; takes back all, unless there is no memory for a copy.
  void close() noexcept;

  // In the thread of a backward. Until a window opens nothing is lent, and nothing noted.
  static void pause_window();
  // The gradient of `slot` has come, at `data`; nullptr: in a form that the slot cannot have. Learns where it was allocated.
  void learn(std::size_t slot, const void* data);
  // Then: what is allocated from now on follows it. is_free(slot): nobody holds or needs what is in this slot.
  template <class IsFree>
  void open_window(std::size_t follows, IsFree&& is_free) {
    begin_window(follows);
    for (const Source& source : sources_[follows]) {
      if (is_free(source.slot)) want(source);
    }
  }
  // At the end of a backward.
  static void close_window();

 private:
  friend class LendingAllocator;
  struct Window;

  struct Place {
    std::size_t begin_bytes = 0;
    std::size_t bytes = 0;
    std::byte* at = nullptr;
    bool can_be_lent = false;
    bool is_sealed = true;
    int times_moved = 0;
  };
  // The nth allocation of so many bytes in a window is the gradient of `slot`.
  struct Source {
    std::size_t bytes = 0;
    int nth = 0;
    std::size_t slot = 0;
  };
  struct Moved {
    std::byte* at = nullptr;
    std::size_t bytes = 0;
  };

  SlotLender(MappedMemory memory, std::size_t begin_bytes, std::size_t payload_bytes)
      : memory_(std::move(memory)), begin_bytes_(begin_bytes), payload_bytes_(payload_bytes) {}

  static Window& window();
  void begin_window(std::size_t follows);
  static void want(const Source& source);
  void forget(std::size_t slot);
  std::byte* lend(std::size_t slot, std::uint64_t epoch);
  // What LendingAllocator asks first: a slot's memory, or nullptr; then it notes where the allocation got its memory.
  static std::byte* borrow(std::size_t bytes);
  static void note(const void* at, std::size_t bytes);
  // Whether it was a loan.
  static bool give_back(void* at);

  const MappedMemory memory_;
  const std::size_t begin_bytes_;  // of the payload
  const std::size_t payload_bytes_;
  std::byte* view_ = nullptr;
  std::vector<Moved> moved_;
  std::vector<Place> places_;                 // [slot]
  std::vector<std::vector<Source>> sources_;  // [the slot whose arrival opens the window]
  std::uint64_t epoch_ = 0;
  bool is_closed_ = false;
};

// From now on LibTorch's allocations of CPU memory can be loans. Once is enough. An allocator that is set later takes its place.
void install_lending_allocator();

}  // namespace hvd
