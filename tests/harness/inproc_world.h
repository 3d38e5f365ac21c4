// A world of ranks as threads: each thread opens the Session of its rank.
//
//   InprocWorld world(4);
//   run_ranks(4, [&](RankScope& scope) {
//     const auto session = world.open(scope);
//     ...
//   });
#pragma once

#include <memory>
#include <vector>

#include "horovod_cpp/ports/memory_exchange.h"
#include "horovod_cpp/session.h"
#include "tests/harness/run_ranks.h"

namespace hvd {

class InprocWorld {
 public:
  enum class Backend { shm, ring };
  explicit InprocWorld(int size, Backend backend = Backend::shm);

  // What rank's Session is made of; once for each rank, on that rank's thread. Collective. Throws std::runtime_error.
  SessionParts parts(int rank, Config config = {});

  // A Session and its guard: if another rank fails, this one is aborted.
  class OpenSession {
   public:
    OpenSession(std::unique_ptr<Session> session, RankScope& scope)
        : session_(std::move(session)), guard_(scope.guard_local(*session_)) {}
    Session& operator*() const { return *session_; }
    Session* operator->() const { return session_.get(); }

   private:
    std::unique_ptr<Session> session_;
    PortGuard guard_;  // let go before the Session is destroyed
  };
  OpenSession open(RankScope& scope, Config config = {});

 private:
  int size_;
  Backend backend_;
  std::vector<std::unique_ptr<Transport>> transports_;
  std::vector<std::unique_ptr<MemoryExchange>> memories_;
};

}  // namespace hvd
