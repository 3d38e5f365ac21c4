#include "launcher/output_files.h"

#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "horovod_cpp/base/text.h"

namespace hvd::launcher {

std::string folder_of_rank(int rank, int num_proc) {
  const std::string number = std::to_string(rank);
  const std::size_t width = std::to_string(num_proc - 1).size();
  return "rank." + std::string(width - number.size(), '0') + number;
}

Result<UniqueFd> create_output_file(const std::string& directory, int rank, int num_proc,
                                    const std::string& name) {
  const std::string folder = directory + "/" + folder_of_rank(rank, num_proc);
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return Status::invalid_argument(text("--output-filename: ", folder, ": ", error.message()));
  const std::string path = folder + "/" + name;
  UniqueFd file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!file.is_open())
    return Status::invalid_argument(text("--output-filename: ", path, ": ", std::strerror(errno)));
  return file;
}

}  // namespace hvd::launcher
