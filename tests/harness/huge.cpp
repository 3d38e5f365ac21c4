#include "tests/harness/huge.h"

#include <fstream>
#include <iostream>
#include <limits>
#include <string>

#include "tests/harness/seed.h"

namespace hvd {
namespace {

#ifdef __SANITIZE_THREAD__
constexpr std::size_t kShadow = 5;  // four bytes of its own for each of ours
#else
constexpr std::size_t kShadow = 1;
#endif

std::size_t available_bytes() {
  std::ifstream in("/proc/meminfo");
  for (std::string word; in >> word;) {
    std::size_t kib = 0;
    if (word == "MemAvailable:" && in >> kib) return kib << 10U;
  }
  return 0;
}

}  // namespace

bool has_room_for(std::size_t bytes) {
  constexpr int kFull = std::numeric_limits<int>::max();
  if (test_rounds(0, kFull) != kFull) return false;
  const std::size_t available = available_bytes();
  if (available / kShadow > bytes) return true;
  std::cerr << "[  ROOM    ] not with more than 2^31 elements: " << (available >> 20U)
            << " MiB are available, " << (bytes >> 20U) * kShadow << " MiB wanted\n";
  return false;
}

std::size_t huge_count(bool has_room) { return (std::size_t{1} << (has_room ? 31U : 24U)) + 101; }

}  // namespace hvd
