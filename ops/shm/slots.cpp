#include "ops/shm/slots.h"

namespace hvd {
namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kSmallestWindowBytes = std::size_t{32} << 10;

std::size_t whole_pages(std::size_t bytes) { return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes; }

}  // namespace

ShmTuning Slots::rounded(ShmTuning tuning, int size) {
  const std::size_t least = kLineBytes * (static_cast<std::size_t>(size) + 1);
  tuning.window_bytes = whole_pages(std::max(tuning.window_bytes, least));
  tuning.small_bytes = std::min(tuning.small_bytes, tuning.window_bytes);
  return tuning;
}

std::size_t Slots::window_bytes_for(std::size_t total) const {
  return std::clamp(whole_pages(total / kCount), std::min(kSmallestWindowBytes, tuning_.window_bytes),
                    tuning_.window_bytes);
}

Status Slots::wait_until_free(std::uint64_t step, Deadline deadline) {
  if (step <= kCount) return {};
  const std::uint64_t needed = step - kCount;
  return for_each_peer([&](int peer) -> Status {
    std::uint64_t& known = known_done_[static_cast<std::size_t>(peer)];
    if (known >= needed) return {};
    HVD_RETURN_IF_ERROR(board_.wait(Progress::done, peer, needed, deadline));
    known = needed;
    return {};
  });
}

Status Slots::wait_until_all_arrived(std::uint64_t step, Deadline deadline) {
  return for_each_peer([&](int peer) -> Status {
    HVD_RETURN_IF_ERROR(board_.wait(Progress::staged, peer, step, deadline));
    known_done_[static_cast<std::size_t>(peer)] = step - 1;
    return {};
  });
}

std::span<const std::byte* const> Slots::packed_at(std::uint64_t step, std::size_t offset) {
  packed_.resize(static_cast<std::size_t>(size()));
  for (int peer = 0; peer < size(); ++peer) {
    packed_[static_cast<std::size_t>(peer)] = peer == rank() ? nullptr : at(peer, step) + offset;
  }
  return packed_;
}

}  // namespace hvd
