// --output-filename: DIR/rank.N/stdout and stderr.
#pragma once

#include <string>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/unique_fd.h"

namespace hvd::launcher {

// "rank.07" for rank 7 of 16: padded, so that they list in order. Pure.
std::string folder_of_rank(int rank, int num_proc);

// Creates the folders that are missing and an empty file `name` ("stdout").
// invalid_argument says which path and why not.
Result<UniqueFd> create_output_file(const std::string& directory, int rank, int num_proc,
                                    const std::string& name);

}  // namespace hvd::launcher
