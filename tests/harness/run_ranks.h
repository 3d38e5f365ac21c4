// Ranks as threads: runs one body per rank and reports every failure with the rank it happened on.
//
//   auto transports = make_inproc_transports(4);
//   run_ranks(4, [&](RankScope& scope) {
//     Transport& transport = *transports[scope.rank()];
//     scope.guard(transport);
//     ASSERT_TRUE(transport.exchange(...).is_ok());
//   });
//
// A rank whose body throws or ends with a fatal failure (ASSERT_*) aborts every
// guarded port of every rank, so that no other rank waits for it. EXPECT_* failures
// are reported and the rank goes on. The failure that came first is printed first.
// Do not GTEST_SKIP inside a body: the other ranks would wait for the one that left.
#pragma once

#include <functional>
#include <vector>

#include "horovod_cpp/base/status.h"

namespace hvd {

class RankGroup;

// Takes a guarded port off the list of what is aborted when a rank fails. Movable.
class [[nodiscard]] PortGuard {
 public:
  PortGuard() = default;
  PortGuard(RankGroup* group, int id) : group_(group), id_(id) {}
  PortGuard(PortGuard&& other) noexcept;
  PortGuard& operator=(PortGuard&& other) noexcept;
  ~PortGuard();

 private:
  RankGroup* group_ = nullptr;
  int id_ = 0;
};

// What a rank's body knows of itself. Lives as long as the call of the body; used by its thread only.
class RankScope {
 public:
  RankScope(RankGroup& group, int rank, int size) : group_(group), rank_(rank), size_(size) {}
  RankScope(const RankScope&) = delete;
  RankScope& operator=(const RankScope&) = delete;
  ~RankScope();

  int rank() const { return rank_; }
  int size() const { return size_; }

  // port.abort(why) is called, from any thread, as soon as any rank's body fails (at once if one has
  // already). The port must outlive the body: it was made outside of run_ranks. For ports that the body
  // itself owns there is guard_local.
  template <class Port>
  void guard(Port& port) {
    keep([&port](const Status& why) { port.abort(why); });
  }

  // The same, until the returned guard is destroyed: declare it after the port.
  //   const PortGuard guarded = scope.guard_local(*session);
  template <class Port>
  PortGuard guard_local(Port& port) {
    return add([&port](const Status& why) { port.abort(why); });
  }

 private:
  using Abort = std::function<void(const Status& why)>;
  PortGuard add(Abort abort);
  void keep(Abort abort);

  RankGroup& group_;
  int rank_;
  int size_;
  std::vector<PortGuard> kept_;
};

// Runs body(scope) once for each rank in [0, n), each in a thread of its own,
// and returns when all have ended. Failures belong to the running gtest case:
// use HasFatalFailure() or HasFailure() afterwards where the case goes on.
void run_ranks(int n, const std::function<void(RankScope& scope)>& body);

}  // namespace hvd
