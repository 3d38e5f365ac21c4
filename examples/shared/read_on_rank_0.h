// For files that only rank 0 has, or that may differ between hosts.
#pragma once

#include <functional>
#include <string>

namespace examples {

// Calls `read` on rank 0 only, and returns what it returned on every rank. If it throws, every rank throws
// std::runtime_error with its message. Collective.
std::string read_on_rank_0(const std::function<std::string()>& read);

}  // namespace examples
