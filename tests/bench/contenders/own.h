// horovod_cpp as a contender, without a framework. The Session outlives them.
#pragma once

#include "horovod_cpp/session.h"
#include "tests/bench/contender.h"

namespace hvd::bench {

// Every tensor averaged on its own, in ordinary memory; all submitted, then all waited for.
Result<std::unique_ptr<Contender>> make_session(Session& session, const Workload& workload);
// The same gradients in memory that ranks share, as in the steady state of a DistributedOptimizer.
Result<std::unique_ptr<Contender>> make_epochs(Session& session, const Workload& workload);

}  // namespace hvd::bench
