// A number that stands for many: ranks compare it to find out whether they have the same. FNV-1a, 64 bits.
#pragma once

#include <cstdint>
#include <string_view>

namespace hvd {

class Fingerprint {
 public:
  void add(std::uint64_t value) {
    for (unsigned byte = 0; byte < 8; ++byte) add_byte(static_cast<unsigned char>(value >> (8 * byte)));
  }
  void add(std::string_view line) {
    for (const char c : line) add_byte(static_cast<unsigned char>(c));
    add_byte('\n');
  }
  // Without the two highest bits: its negative is a number too.
  std::int64_t value() const { return static_cast<std::int64_t>(hash_ >> 2U); }

 private:
  void add_byte(unsigned char byte) { hash_ = (hash_ ^ byte) * 1099511628211U; }
  std::uint64_t hash_ = 14695981039346656037U;
};

}  // namespace hvd
