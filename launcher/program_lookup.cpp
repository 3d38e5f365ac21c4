#include "launcher/program_lookup.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "horovod_cpp/base/text.h"
#include "launcher/job.h"

namespace hvd::launcher {
namespace {

std::string python_remedy(const std::string& name) {
  return name.ends_with(".py") ? text(" (did you mean: python ", name, " ?)") : "";
}

// 0 if `path` is a file that may be executed, else errno.
int executable_error(const std::string& path) {
  struct stat info{};
  if (stat(path.c_str(), &info) != 0) return errno;
  if (S_ISDIR(info.st_mode)) return EISDIR;
  return access(path.c_str(), X_OK) == 0 ? 0 : errno;
}

}  // namespace

FoundProgram explain_exec_failure(const std::string& path, const std::string& name, int error) {
  FoundProgram found{path, kExitNotExecutable, ""};
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      if (access(path.c_str(), F_OK) == 0) {
        found.message = text(name, ": the interpreter in its first line (#!), or its loader, does not exist");
      } else {
        found.exit_status = kExitNotFound;
        found.message = text(name, ": no such program", python_remedy(name));
      }
      break;
    case EISDIR:
      found.message = text(name, ": is a directory, not a program");
      break;
    case EACCES:
      found.message = text(name, ": is not executable; try chmod +x", python_remedy(name));
      break;
    case ENOEXEC:
      found.message =
          text(name, ": is neither a program for this machine nor a script with a #! line; try: bash ", name);
      break;
    default:
      found.message = text(name, ": cannot be executed: ", std::strerror(error));
  }
  return found;
}

FoundProgram find_program(const std::string& name, const std::string& search_path) {
  if (name.find('/') != name.npos) {
    const int error = executable_error(name);
    return error == 0 ? FoundProgram{name, 0, ""} : explain_exec_failure(name, name, error);
  }
  std::string refused;
  int refused_error = 0;
  for (std::size_t first = 0; first <= search_path.size();) {
    const std::size_t last = std::min(search_path.find(':', first), search_path.size());
    const std::string folder = search_path.substr(first, last - first);
    const std::string path = (folder.empty() ? "." : folder) + "/" + name;
    first = last + 1;
    const int error = executable_error(path);
    if (error == 0) return {path, 0, ""};
    if (error == EACCES && refused.empty()) {
      refused = path;
      refused_error = error;
    }
  }
  if (!refused.empty()) return explain_exec_failure(refused, name, refused_error);
  FoundProgram missing{"", kExitNotFound, text(name, ": no such program in PATH")};
  if (executable_error("./" + name) == 0) {
    missing.message += text(" (did you mean: ./", name, " ?)");
  } else {
    missing.message += python_remedy(name);
  }
  return missing;
}

}  // namespace hvd::launcher
