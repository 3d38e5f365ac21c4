// The settings of a Session, read from the environment once. HVD_NAME wins over HOROVOD_NAME.
//
// Source of the names and defaults: Horovod's documented knobs, so that its users' settings keep working.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/log.h"
#include "horovod_cpp/base/status.h"

namespace hvd {

// Value of an environment variable, if it is set.
using EnvironmentLookup = std::function<std::optional<std::string>(const std::string& name)>;
EnvironmentLookup process_environment();

// Where this process stands among the ranks.
struct Placement {
  int rank = 0;
  int size = 1;
  int local_rank = 0;  // among the ranks of this host
  int local_size = 1;
  int cross_rank = 0;  // number of this host
  int cross_size = 1;  // hosts
};

struct Config {
  // FUSION_THRESHOLD: an all-reduce of many tensors moves at most this many bytes at once.
  std::size_t fusion_threshold_bytes = std::size_t{128} << 20;
  // START_TIMEOUT: how long ranks wait for each other when a Session starts.
  std::chrono::seconds start_timeout{30};
  // SHUTDOWN_TIMEOUT: how long shutdown waits for the other ranks to shut down too; 0: as long as they live
  // (a rank that is done early must not end the others' work).
  std::chrono::seconds shutdown_timeout{0};
  // STALL_CHECK_TIME_SECONDS: a tensor that some ranks have not submitted for this long is reported; 0 or
  // STALL_CHECK_DISABLE=1 switches the report off.
  std::chrono::seconds stall_warning{60};
  // STALL_SHUTDOWN_TIME_SECONDS: … and for this long ends the job; 0: never.
  std::chrono::seconds stall_shutdown{0};
  // HEARTBEAT_TIMEOUT_SECONDS: how long a rank's host may acknowledge nothing before the rank is lost; 0: as long as TCP goes on trying.
  std::chrono::seconds heartbeat_timeout{30};
  // STATIC_PLAN: 0 has every step of a DistributedOptimizer negotiated; 1 lets ranks of one host reduce gradients by a fixed plan after the
  // first.
  bool static_plan = true;
  // CONTROL: "auto", "shm", "tcp" or "mpi": what carries the negotiation.
  std::string control = "auto";
  // CPU_OPERATIONS: "auto", "shm", "ring" or "mpi": what reduces host memory.
  std::string cpu_operations = "auto";
  // ENCRYPT: 1 encrypts the tensors that are reduced over TCP too.
  bool encrypt = false;
  // TIMELINE: the file of the timeline, written from the start; empty (or DYNAMIC, as in Horovod): none.
  std::string timeline;
  // TIMELINE_MARK_CYCLES: 1 shows the rounds of negotiation in it.
  bool timeline_mark_cycles = false;
  // TIMELINE_MAX_MB: how large the file of a rank may become.
  std::size_t timeline_max_bytes = std::size_t{256} << 20;
  // LOG_LEVEL: trace, debug, info, warning, error, fatal, off.
  LogLevel log_level = LogLevel::warning;

  Deadline shutdown_deadline() const {
    return shutdown_timeout.count() == 0 ? Deadline::never() : Deadline::after(shutdown_timeout);
  }

  // invalid_argument names the variable, its value and what it may be.
  static Result<Config> from(const EnvironmentLookup& lookup);
};

// HVD_NAME, else HOROVOD_NAME.
std::optional<std::string> lookup_setting(const EnvironmentLookup& lookup, const std::string& name);
// A whole number within [lowest, highest]; nothing if the variable is not set.
Result<std::optional<long long>> lookup_number(const EnvironmentLookup& lookup, const std::string& name,
                                               long long lowest, long long highest);

}  // namespace hvd
