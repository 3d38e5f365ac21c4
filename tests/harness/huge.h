// For tests with more than 2^31 elements.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hvd {

// Whether a test may use this much memory: a full run (HVD_TEST_ROUNDS=full) on a machine that has it. A full run that has to do without
// says so. ThreadSanitizer needs several times as much, which is taken into account.
bool has_room_for(std::size_t bytes);

// 2^31 and a little more where that is so, otherwise 2^24: counts and offsets are never 32 bits, nor floating.
std::size_t huge_count(bool has_room);

// What rank `rank` has at `i`. Differs between ranks, and between offsets that are 2^16, 2^24 or 2^32 apart.
inline std::uint8_t huge_value(std::size_t i, int rank) {
  return static_cast<std::uint8_t>(i * 7 + (i >> 8) + (i >> 16) * 3 + (i >> 24) * 5 +
                                   static_cast<std::size_t>(rank) * 11);
}

}  // namespace hvd
