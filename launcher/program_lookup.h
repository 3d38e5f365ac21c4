// Finds the program to run as a shell does, so that a mistake is one line instead of one a rank.
#pragma once

#include <string>

namespace hvd::launcher {

struct FoundProgram {
  std::string path;     // for execve
  int exit_status = 0;  // 0, or kExitNotFound or kExitNotExecutable
  std::string message;  // why it cannot be run, and what to do
};

// `name` with a slash is a path; otherwise the folders of `search_path` (PATH; an empty entry is the current
// folder) are searched.
FoundProgram find_program(const std::string& name, const std::string& search_path);

// Why execve of `path`, named `name` by the user, failed with `error` (errno).
FoundProgram explain_exec_failure(const std::string& path, const std::string& name, int error);

}  // namespace hvd::launcher
