#include "bindings/torch/slot_lender.h"

#include <algorithm>
#include <mutex>
#include <new>

#include "bindings/torch/arena_plan.h"
#include "horovod_cpp/base/pages.h"

namespace hvd {
namespace {

// Each time costs a copy and a mapping: a slot whose guesses are wrong is left alone.
constexpr int kMostTimesMoved = 16;
// Of one backward. More are not looked at.
constexpr std::size_t kMostSeen = 4096;

struct Loan {
  std::byte* at = nullptr;
  std::size_t slot = 0;
  std::size_t bytes = 0;  // pages
  bool is_private = false;
  std::shared_ptr<SlotLender> lender;
};

// All loans of the process. The mutex also covers what lend() looks at.
struct Loans {
  std::mutex mutex;
  std::vector<Loan> all;

  std::vector<Loan>::iterator find(const SlotLender* lender, std::size_t slot) {
    return std::find_if(all.begin(), all.end(), [&](const Loan& loan) {
      return loan.lender.get() == lender && loan.slot == slot && !loan.is_private;
    });
  }
};

// Never destroyed: tensors may outlive main().
Loans& loans() {
  static auto* const all = new Loans;
  return *all;
}

}  // namespace

// --- what a backward allocates ---

struct SlotLender::Window {
  struct Seen {
    const void* at = nullptr;
    std::size_t bytes = 0;
    std::size_t follows = 0;
    int nth = 0;
  };

  bool is_open = false;
  bool is_paused = false;
  std::weak_ptr<SlotLender> lender;
  std::uint64_t epoch = 0;
  std::size_t follows = 0;
  std::size_t first = 0;   // of this window in `seen`
  std::vector<Seen> seen;  // in this backward
  std::vector<Source> wanted;

  bool takes_note_of(std::size_t bytes) const {
    return is_open && !is_paused && bytes >= kLeastBytesOnOwnPages;
  }
  int next(std::size_t bytes) const {
    return static_cast<int>(std::count_if(seen.begin() + static_cast<std::ptrdiff_t>(first), seen.end(),
                                          [bytes](const Seen& one) { return one.bytes == bytes; }));
  }
};

SlotLender::Window& SlotLender::window() {
  thread_local Window window;
  return window;
}

void SlotLender::begin_window(std::size_t follows) {
  Window& window = SlotLender::window();
  if (!window.is_open || window.epoch != epoch_ || window.lender.lock().get() != this) {
    window.seen.clear();
    window.lender = weak_from_this();
  }
  window.is_open = true;
  window.is_paused = false;
  window.epoch = epoch_;
  window.follows = follows;
  window.first = window.seen.size();
  window.wanted.clear();
}

void SlotLender::want(const Source& source) { window().wanted.push_back(source); }

void SlotLender::pause_window() { window().is_paused = true; }

void SlotLender::close_window() {
  Window& window = SlotLender::window();
  window.is_open = false;
  window.lender.reset();
}

std::byte* SlotLender::borrow(std::size_t bytes) {
  const Window& window = SlotLender::window();
  if (!window.takes_note_of(bytes) || window.wanted.empty()) return nullptr;
  const int nth = window.next(bytes);
  for (const Source& source : window.wanted) {
    if (source.bytes != bytes || source.nth != nth) continue;
    const auto lender = window.lender.lock();
    return lender ? lender->lend(source.slot, window.epoch) : nullptr;
  }
  return nullptr;
}

void SlotLender::note(const void* at, std::size_t bytes) {
  Window& window = SlotLender::window();
  if (!window.takes_note_of(bytes) || window.seen.size() == kMostSeen) return;
  window.seen.push_back({at, bytes, window.follows, window.next(bytes)});
}

void SlotLender::forget(std::size_t slot) {
  for (auto& sources : sources_) {
    std::erase_if(sources, [slot](const Source& source) { return source.slot == slot; });
  }
}

void SlotLender::learn(std::size_t slot, const void* data) {
  const Place& place = places_[slot];
  if (!place.can_be_lent) return;
  const Window& window = SlotLender::window();
  const auto is_this = [&](const Window::Seen& one) { return one.at == data && one.bytes == place.bytes; };
  const bool is_ours = window.is_open && window.lender.lock().get() == this;
  const auto found = std::find_if(window.seen.rbegin(), window.seen.rend(), is_this);
  if (!is_ours) return;
  if (found == window.seen.rend()) return forget(slot);
  auto& sources = sources_[found->follows];
  const auto known = std::find_if(sources.begin(), sources.end(),
                                  [slot](const Source& source) { return source.slot == slot; });
  if (known != sources.end() && known->nth == found->nth) return;
  forget(slot);
  sources.push_back({place.bytes, found->nth, slot});
}

// --- loans ---

std::shared_ptr<SlotLender> SlotLender::open(MappedMemory memory, std::size_t begin_bytes,
                                             std::size_t payload_bytes, const std::vector<Slot>& slots) {
  if (payload_bytes == 0 || !memory.file || begin_bytes % page_bytes() != 0 || !can_make_private())
    return nullptr;
  std::shared_ptr<SlotLender> lender(new SlotLender(std::move(memory), begin_bytes, payload_bytes));
  lender->view_ = map_shared(*lender->memory_.file, begin_bytes, rounded_to_pages(payload_bytes));
  if (lender->view_ == nullptr) return nullptr;
  for (const Slot& slot : slots) {
    Place place{.begin_bytes = slot.begin_bytes, .bytes = slot.bytes, .at = lender->view_ + slot.begin_bytes};
    const std::size_t end = slot.begin_bytes + rounded_to_pages(slot.bytes);
    const bool is_alone = std::none_of(slots.begin(), slots.end(), [&](const Slot& other) {
      return other.begin_bytes > slot.begin_bytes && other.begin_bytes < end;
    });
    place.can_be_lent =
        slot.bytes >= kLeastBytesOnOwnPages && slot.begin_bytes % page_bytes() == 0 && is_alone;
    lender->places_.push_back(place);
  }
  lender->sources_.resize(slots.size());
  return lender;
}

SlotLender::~SlotLender() {
  if (view_ != nullptr) unmap_pages(view_, rounded_to_pages(payload_bytes_));
  for (const Moved& moved : moved_) unmap_pages(moved.at, moved.bytes);
}

bool SlotLender::contains(const void* address) const {
  const auto* const at = static_cast<const std::byte*>(address);
  const auto is_in = [at](const std::byte* begin, std::size_t bytes) {
    return at >= begin && at < begin + bytes;
  };
  return is_in(view_, payload_bytes_) || std::any_of(moved_.begin(), moved_.end(), [&](const Moved& moved) {
           return is_in(moved.at, moved.bytes);
         });
}

void SlotLender::begin_epoch() {
  const std::lock_guard lock(loans().mutex);
  ++epoch_;
  for (Place& place : places_) place.is_sealed = false;
}

void SlotLender::seal(std::size_t slot) {
  const std::lock_guard lock(loans().mutex);
  places_[slot].is_sealed = true;
}

bool SlotLender::is_lent(std::size_t slot) const {
  if (!places_[slot].can_be_lent) return false;
  const std::lock_guard lock(loans().mutex);
  return loans().find(this, slot) != loans().all.end();
}

std::byte* SlotLender::lend(std::size_t slot, std::uint64_t epoch) {
  const std::lock_guard lock(loans().mutex);
  const Place& place = places_[slot];
  if (is_closed_ || place.is_sealed || !place.can_be_lent || epoch != epoch_) return nullptr;
  if (loans().find(this, slot) != loans().all.end()) return nullptr;
  loans().all.push_back({place.at, slot, rounded_to_pages(place.bytes), false, shared_from_this()});
  return place.at;
}

bool SlotLender::give_back(void* at) {
  Loan loan;
  {
    const std::lock_guard lock(loans().mutex);
    const auto found =
        std::find_if(loans().all.begin(), loans().all.end(), [at](const Loan& one) { return one.at == at; });
    if (found == loans().all.end()) return false;
    loan = std::move(*found);
    if (found != loans().all.end() - 1) *found = std::move(loans().all.back());
    loans().all.pop_back();
  }
  return true;
}

void SlotLender::take_back(std::size_t slot) {
  Place& place = places_[slot];
  const std::lock_guard lock(loans().mutex);
  const auto loan = loans().find(this, slot);
  if (loan == loans().all.end()) return;
  const std::size_t begin = begin_bytes_ + place.begin_bytes;
  std::byte* const again = map_shared(*memory_.file, begin, loan->bytes);
  if (again == nullptr) throw std::bad_alloc();
  if (!make_private(loan->at, *memory_.file, begin, loan->bytes)) {
    unmap_pages(again, loan->bytes);
    throw std::bad_alloc();
  }
  loan->is_private = true;
  moved_.push_back({again, loan->bytes});
  place.at = again;
  place.can_be_lent = ++place.times_moved < kMostTimesMoved;
}

void SlotLender::close() noexcept {
  {
    const std::lock_guard lock(loans().mutex);
    is_closed_ = true;
  }
  for (std::size_t slot = 0; slot < places_.size(); ++slot) {
    try {
      take_back(slot);
    } catch (const std::bad_alloc&) {
      continue;
    }
  }
}

}  // namespace hvd
