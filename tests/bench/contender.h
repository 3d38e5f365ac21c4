// Contender: one way to reduce a Workload, to be timed against the others. To add a peer (MPICH, gloo,
// Horovod …): write a subclass in a file of its own and put it into the table in allreduce_bench.cpp.
//
// Threading: all calls come from one thread.
// Every rank makes the same calls in the same order; run is collective.
#pragma once

#include <memory>
#include <string>

#include "horovod_cpp/base/status.h"
#include "tests/bench/workload.h"

namespace hvd::bench {

class Contender {
 public:
  virtual ~Contender() = default;

  virtual std::string name() const = 0;
  // Rewrites all memory that run reads. Not timed.
  virtual void fill(int round) = 0;
  // Timed: returns when this rank's result is there.
  virtual Status run() = 0;
  // Whether the result is right. Not timed.
  virtual Status verify(int round) = 0;
};

// Where this process stands among the ranks of the benchmark.
struct Place {
  int rank = 0;
  int size = 1;
};

using ContenderFactory = Result<std::unique_ptr<Contender>> (*)(const Workload& workload, Place place);

// One MPI_Allreduce (in place, float32, sum) of everything, by the MPI that this program is linked with.
Result<std::unique_ptr<Contender>> make_mpi_allreduce(const Workload& workload, Place place);
// hvd::Session: every tensor averaged on its own; all submitted, then all waited for.
Result<std::unique_ptr<Contender>> make_session(const Workload& workload, Place place);
// The same gradients in memory that ranks share, as in the steady state of a DistributedOptimizer.
Result<std::unique_ptr<Contender>> make_session_epochs(const Workload& workload, Place place);
// No communication: each rank adds its share of two private arrays, a = b = a + b, which moves as many bytes
// as an all-reduce in place between two ranks must at least (two reads and two writes an element).
Result<std::unique_ptr<Contender>> make_memory_floor(const Workload& workload, Place place);

}  // namespace hvd::bench
