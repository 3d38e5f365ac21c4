// Stall monitor: notices operations that some ranks have submitted and others have not, for too long. Pure but for its memory.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/coordinator/negotiator.h"
#include "horovod_cpp/ports/clock.h"

namespace hvd {

class StallMonitor {
 public:
  // A zero `warn_after` never warns; a zero `end_after` never ends the job.
  StallMonitor(int rank, std::chrono::seconds warn_after, std::chrono::seconds end_after);

  bool is_on() const { return warn_after_.count() > 0 || end_after_.count() > 0; }
  // How often to check while something waits.
  std::chrono::milliseconds interval() const;

  struct Verdict {
    // New ones; each operation is reported once for each time that it stalls.
    std::vector<std::string> warnings;
    Status end;  // failed: the job is to end with it
  };
  // `waiting` is everything that waits now. Only the lowest rank that waits for an operation warns about it. `trouble_of`: what is known to
  // hold up a rank, or nothing.
  Verdict check(Clock::time_point now, std::span<const Negotiator::Waiting> waiting,
                const std::function<std::string(int rank)>& trouble_of = nullptr);

 private:
  struct Since {
    Clock::time_point first_seen;
    bool is_reported = false;
  };
  const int rank_;
  const std::chrono::seconds warn_after_;
  const std::chrono::seconds end_after_;
  std::map<std::string, Since> since_;  // by name of the operation
};

}  // namespace hvd
