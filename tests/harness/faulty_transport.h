// A Transport that misbehaves on purpose around one that does not.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>

#include "horovod_cpp/base/abort_latch.h"
#include "horovod_cpp/ports/transport.h"

namespace hvd {

struct TransportFaults {
  std::uint64_t seed = 0;
  // Before each exchange and all_gather this rank is late by a random time of up to this;
  // never later than the deadline.
  std::chrono::microseconds longest_delay{0};

  enum class Kind {
    none,
    fail,    // the call ends with `failure` without having moved anything,
             // and so does every later one: a broken link
    vanish,  // the call moves nothing and blocks until its deadline or an abort,
             // and so does every later one: a silent peer
  };
  Kind kind = Kind::none;
  // The call that is hit: exchange and all_gather count, from 0.
  int at_call = 0;
  Status failure = Status::aborted("injected by FaultyTransport");
};

// Threading and errors as for Transport. Owns the transport it wraps.
class FaultyTransport final : public Transport {
 public:
  FaultyTransport(std::unique_ptr<Transport> wrapped, TransportFaults faults);

  const char* name() const override { return "faulty"; }
  int rank() const override { return wrapped_->rank(); }
  int size() const override { return wrapped_->size(); }
  Status exchange(int to, std::span<const std::byte> send, int from, std::span<std::byte> receive,
                  Deadline deadline) override;
  Status all_gather(std::span<const std::byte> mine, std::vector<Bytes>& all, Deadline deadline) override;
  Result<bool> wait(Deadline deadline) override;
  void notify() override { wrapped_->notify(); }
  bool may_change_threads() const override { return wrapped_->may_change_threads(); }
  void abort(const Status& why) override;

  // Calls of exchange and all_gather so far. For the thread that makes them.
  int calls() const { return calls_; }

 private:
  Status next_call(Deadline deadline);
  // Sleeps until `deadline`; the reason if abort() came first.
  Status sleep_until(Deadline deadline);

  const std::unique_ptr<Transport> wrapped_;
  const TransportFaults faults_;
  std::mt19937_64 random_;
  int calls_ = 0;
  AbortLatch latch_;
  std::mutex mutex_;
  std::condition_variable aborted_;
};

}  // namespace hvd
