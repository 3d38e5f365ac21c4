// Runs a body once for each rank, as threads, each with a Context of its own over a world without processes.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>

#include "horovod_cpp/session.h"
#include "horovod_cpp/torch/context.h"
#include "horovod_cpp/torch/errors.h"
#include "tests/harness/inproc_world.h"
#include "tests/harness/run_ranks.h"

namespace hvd {

inline constexpr std::chrono::seconds kTestDeadline{60};

// Settings of the environment: HVD_STATIC_PLAN=0 runs all tests without the steady state.
inline Config test_config() { return value_or_throw(Config::from(process_environment())); }

// The Session is shut down when every rank's body has returned. `ends_well` false: the body breaks the world.
inline void on_ranks(int n, const std::function<void(const std::shared_ptr<Context>&)>& body,
                     bool ends_well = true, InprocWorld::Backend backend = InprocWorld::Backend::shm,
                     const Config& config = test_config()) {
  InprocWorld world(n, backend);
  run_ranks(n, [&](RankScope& scope) {
    const auto context =
        std::make_shared<Context>(value_or_throw(Session::create(world.parts(scope.rank(), config))));
    Session& session = context->session();
    const PortGuard guard = scope.guard_local(session);
    body(context);
    const Status status = session.shutdown(Deadline::after(kTestDeadline));
    if (ends_well) {
      EXPECT_TRUE(status.is_ok()) << "rank " << scope.rank() << ": " << status.message();
    }
  });
}

}  // namespace hvd
