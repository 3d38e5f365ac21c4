// The processes below this one, found through /proc, and the end of all of them.
//
// With PR_SET_CHILD_SUBREAPER set, a descendant whose parent dies becomes a child of this process, whatever
// process group or session it has moved to. So a walk over parents finds everybody, and "no children" means
// that nobody is left.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string_view>
#include <vector>

#include "horovod_cpp/base/deadline.h"

namespace hvd::launcher {

struct ProcessEntry {
  pid_t pid = 0;
  pid_t parent = 0;
  char state = '?';                   // 'Z': has ended, not yet reaped
  unsigned long long start_time = 0;  // clock ticks since boot; with pid it names a process for ever
};

// The contents of /proc/PID/stat. The program's name in it may hold blanks and parentheses.
std::optional<ProcessEntry> parse_process_stat(std::string_view stat);
std::vector<ProcessEntry> list_processes();

// Those of `all` that descend from `root` and have not ended, except `excluded` and what descends from them.
std::vector<ProcessEntry> descendants_of(pid_t root, const std::vector<ProcessEntry>& all,
                                         const std::vector<ProcessEntry>& excluded = {});

// Sends `signal` to every descendant of this process. Returns how many there were.
std::size_t signal_descendants(int signal, const std::vector<ProcessEntry>& excluded = {});

// Kills and reaps until no descendant is left, or the deadline.
// True if none is left. For a subreaper with a single thread.
bool kill_descendants(const std::vector<ProcessEntry>& excluded, Deadline deadline);

}  // namespace hvd::launcher
