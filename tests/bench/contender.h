// Contender: one way to do a Workload, to be timed against the others, as one rank sees it. tests/bench/README.md says how to add one.
//
// Threading: all calls come from one thread.
// Every rank makes the same calls in the same order; run is collective.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "horovod_cpp/base/status.h"
#include "tests/bench/workload.h"

namespace hvd::bench {

class Contender {
 public:
  virtual ~Contender() = default;

  // For people, with versions and settings that matter, and after run what there is to say besides times.
  virtual std::string title() const = 0;
  // Rewrites all memory that run reads. Not timed.
  virtual void fill(int repetition) = 0;
  // Timed: returns when this rank's result is there.
  virtual Status run() = 0;
  // Whether the result is right. Not timed.
  virtual Status verify(int repetition) = 0;
  // After verify: of all bits that must be the same on every rank (parameters after a step). Nothing: there are none.
  virtual std::optional<std::uint64_t> digest() const { return std::nullopt; }
  // Gives the pages of that memory back to the system; fill comes next. Many contenders share one machine.
  virtual void give_back() {}
};

// Where this process stands among the ranks of its contender.
struct Place {
  int rank = 0;
  int size = 1;
};

// unimplemented: this contender does not do such work.
using ContenderMaker = std::function<Result<std::unique_ptr<Contender>>(const Workload& workload)>;

}  // namespace hvd::bench
