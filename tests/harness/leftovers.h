// What a job of processes may leave behind on a machine.
#pragma once

#include <sys/types.h>

#include <set>
#include <string>
#include <vector>

namespace hvd {

// Living processes (zombies do not count) that inherited the environment variable `name` with this value.
std::vector<pid_t> processes_with(const std::string& name, const std::string& value);

// "pid 12 (S): sleep 1000"
std::string describe_process(pid_t pid);

// Files in /dev/shm, and files in /tmp with our name in theirs, to compare later. A name with "-test-" does
// not count: that is a scratch folder of another test.
std::set<std::string> shared_files();

// Those of shared_files() that were not there `before`, still are, and that no living process has mapped or open:
// what a running program of somebody else's uses for a while is not left behind.
std::vector<std::string> abandoned_files(const std::set<std::string>& before);

}  // namespace hvd
