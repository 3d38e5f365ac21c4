// Secrets: random ones, and how to compare them. The key of a job is in secure/job_key.h.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "horovod_cpp/base/status.h"

namespace hvd {

// Takes the same time wherever the difference is.
bool is_same_secret(std::string_view left, std::string_view right);

// 2 × bytes hexadecimal digits from the system's random source.
Result<std::string> random_secret(std::size_t bytes);

}  // namespace hvd
