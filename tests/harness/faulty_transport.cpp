#include "tests/harness/faulty_transport.h"

#include <utility>

#include "horovod_cpp/base/text.h"

namespace hvd {

FaultyTransport::FaultyTransport(std::unique_ptr<Transport> wrapped, TransportFaults faults)
    : wrapped_(std::move(wrapped)), faults_(std::move(faults)), random_(faults_.seed) {}

Status FaultyTransport::exchange(int to, std::span<const std::byte> send, int from,
                                 std::span<std::byte> receive, Deadline deadline) {
  HVD_RETURN_IF_ERROR(next_call(deadline));
  return wrapped_->exchange(to, send, from, receive, deadline);
}

Status FaultyTransport::all_gather(std::span<const std::byte> mine, std::vector<Bytes>& all,
                                   Deadline deadline) {
  HVD_RETURN_IF_ERROR(next_call(deadline));
  return wrapped_->all_gather(mine, all, deadline);
}

Result<bool> FaultyTransport::wait(Deadline deadline) {
  if (latch_.is_set()) return latch_.status();
  return wrapped_->wait(deadline);
}

void FaultyTransport::abort(const Status& why) {
  {
    const std::lock_guard lock(mutex_);
    latch_.set(why);
  }
  aborted_.notify_all();
  wrapped_->abort(why);
}

Status FaultyTransport::next_call(Deadline deadline) {
  const int call = calls_++;
  HVD_RETURN_IF_ERROR(latch_.status());
  if (faults_.kind == TransportFaults::Kind::vanish && call >= faults_.at_call) {
    HVD_RETURN_IF_ERROR(sleep_until(deadline));
    return Status::timed_out(
        text("rank ", rank(), ": vanished in call ", faults_.at_call, " by FaultyTransport"));
  }
  if (faults_.kind == TransportFaults::Kind::fail && call == faults_.at_call) {
    abort(faults_.failure);
    return latch_.status();
  }
  if (faults_.longest_delay.count() == 0) return {};
  std::uniform_int_distribution<std::int64_t> delay_us(0, faults_.longest_delay.count());
  return sleep_until(Deadline::after(std::chrono::microseconds(delay_us(random_))).earlier(deadline));
}

Status FaultyTransport::sleep_until(Deadline deadline) {
  std::unique_lock lock(mutex_);
  const auto is_aborted = [this] { return latch_.is_set(); };
  // A wait_until the end of time overflows in some libraries.
  if (deadline.is_never()) {
    aborted_.wait(lock, is_aborted);
  } else {
    aborted_.wait_until(lock, deadline.when(), is_aborted);
  }
  return latch_.status();
}

}  // namespace hvd
