#include "ops/shm/board.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "horovod_cpp/base/text.h"

namespace hvd {
namespace {

const char* deed_of(Progress progress) {
  switch (progress) {
    case Progress::staged:
      return "has not arrived";
    case Progress::reduced:
      return "has not reduced its part";
    case Progress::done:
      return "has not read the results";
  }
  return "is behind";
}

}  // namespace

Board::Board(std::vector<MappedMemory> memory, int rank, SpinLimits spin)
    : memory_(std::move(memory)), rank_(rank), patience_(spin) {
  for (MappedMemory& one : memory_) one.file.reset();  // a descriptor less
}

BoardPage& Board::page_of(int rank) const {
  return *reinterpret_cast<BoardPage*>(memory_[static_cast<std::size_t>(rank)].data);
}

void Board::publish(Progress progress, std::uint64_t value) {
  BoardPage& mine = page_of(rank_);
  mine.counters[static_cast<int>(progress)].value.store(value);
  mine.bell.ring_if_needed();
}

Status Board::wait(Progress progress, int peer, std::uint64_t value, Deadline deadline) {
  const auto& counter = page_of(peer).counters[static_cast<int>(progress)].value;
  if (counter.load(std::memory_order_acquire) >= value) return {};
  return wait_long(progress, peer, value, deadline);
}

Status Board::wait_long(Progress progress, int peer, std::uint64_t value, Deadline deadline) {
  const auto& counter = page_of(peer).counters[static_cast<int>(progress)].value;
  for (bool has_been_patient = false;; has_been_patient = true) {
    if (!has_been_patient &&
        patience_.is_over_soon([&] { return counter.load(std::memory_order_acquire) >= value; }))
      return {};
    // In this order: a peer that arrived and then aborted has arrived.
    Status failed = failure();
    const std::uint64_t seen = counter.load(std::memory_order_acquire);
    if (seen >= value) return {};
    if (!failed.is_ok()) return failed;
    if (deadline.passed()) {
      return Status::timed_out(
          text("rank ", rank_, " waited for rank ", peer, ", which ", deed_of(progress),
               " by the deadline (step ", value, ", it is at ", seen,
               "): see whether that rank is stopped, stuck or late, or allow more time"));
    }
    sleep(progress, peer, value, deadline);
  }
}

void Board::sleep(Progress progress, int peer, std::uint64_t value, Deadline deadline) {
  BoardPage& page = page_of(peer);
  const auto& counter = page.counters[static_cast<int>(progress)].value;
  page.bell.sleep_unless([&] { return counter.load() >= value || !failure().is_ok(); }, deadline);
}

void Board::abort(const Status& why) {
  if (!latch_.set(why)) return;
  BoardPage& mine = page_of(rank_);
  const std::size_t length = std::min(why.message().size(), sizeof(mine.why) - 1);
  std::memcpy(mine.why, why.message().data(), length);
  mine.why[length] = '\0';
  for (int rank = 0; rank < size(); ++rank) {
    std::uint32_t nobody = 0;
    page_of(rank).aborted_by.compare_exchange_strong(nobody, static_cast<std::uint32_t>(rank_) + 1);
  }
  // Only now: who sleeps on one page's bell learns from its own page why it was woken.
  for (int rank = 0; rank < size(); ++rank) page_of(rank).bell.ring();
}

Status Board::failure() {
  if (latch_.is_set()) return latch_.status();
  const std::uint32_t by = page_of(rank_).aborted_by.load(std::memory_order_acquire);
  if (by == 0 || by > static_cast<std::uint32_t>(size())) return {};
  const char* const why = page_of(static_cast<int>(by) - 1).why;
  const std::string_view quoted(why, ::strnlen(why, sizeof(BoardPage::why)));
  latch_.set(Status::aborted(text("rank ", by - 1, " ended the group: ", quoted)));
  return latch_.status();
}

}  // namespace hvd
