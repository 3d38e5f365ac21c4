// The job key: what the processes of one job know and strangers do not. It is never sent, and never in the environment or on a command
// line, which other users may read.
#pragma once

#include <string>

#include "horovod_cpp/base/config.h"
#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/unique_fd.h"

namespace hvd {

inline constexpr std::size_t kMaxJobKeyBytes = 128;

// Where a process finds its key. Both may be empty: a world of one, or mpirun.
struct JobKeySource {
  std::string descriptor;  // HVD_JOB_KEY_FD: number of an inherited descriptor, from share_job_key
  std::string file;        // HVD_JOB_KEY_FILE: a file of this user that nobody else may read
};

// The names of the variables only; nothing is opened.
JobKeySource job_key_source(const EnvironmentLookup& lookup);

// The key, from the descriptor if there is one. Can be called again: the descriptor stays open, but programs that this process starts
// from now on do not inherit it. invalid_argument says what is wrong with the descriptor or file, and what to do.
Result<std::string> read_job_key(const JobKeySource& source);

// A descriptor from which processes that inherit it read the key: sealed memory, without a name. Closed on exec until somebody clears
// that flag in a child. Its number is high: shells give the low ones to scripts.
Result<UniqueFd> share_job_key(const std::string& key);

}  // namespace hvd
