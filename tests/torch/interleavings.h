// Random interleavings: training steps mixed with ad-hoc operations, every rank in an order of its own.
//
// In each round (interleavings_plan.h) kRanks ranks take a few training steps and some ad-hoc operations. A rank submits operations and
// waits for them before, during (from a tensor's hook) and after its steps, now and then from a second thread, in an order that only it
// knows. All results are compared with what this rank can compute by itself, and the bits of models and gradients between ranks.
// For ranks as threads and as processes; public functions of the library only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "horovod_cpp/torch/context.h"

namespace hvd {

// Collective. Returns a line on what this rank has done. Throws std::runtime_error that says in which round and step what was wrong.
std::string run_interleavings(const std::shared_ptr<Context>& context, std::uint64_t seed, int rounds);

}  // namespace hvd
