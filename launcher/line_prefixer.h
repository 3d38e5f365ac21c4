// Turns the bytes that a rank writes into whole lines, each with a prefix. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace hvd::launcher {

// What becomes of a piece that ends with a carriage return alone (a progress bar).
enum class CarriageReturn {
  keep,     // passed on as it is: the terminal overwrites the line
  newline,  // becomes a line of its own, so that a log file or a pipe shows progress too; empty pieces vanish
};

class LinePrefixer {
 public:
  // A line longer than `longest_line_bytes` is broken, so that memory stays bounded.
  explicit LinePrefixer(CarriageReturn carriage_return, std::size_t longest_line_bytes = std::size_t{1} << 20)
      : carriage_return_(carriage_return), longest_line_bytes_(longest_line_bytes) {}

  // Appends to `out` the lines that `bytes` completes, each after `prefix`; keeps the rest.
  void append(std::string_view bytes, std::string_view prefix, std::string& out);
  // The rank has closed its output: a last line without an end gets one.
  void finish(std::string_view prefix, std::string& out);

  std::size_t held_bytes() const { return held_.size(); }

 private:
  void emit(std::string_view line, std::string_view end, std::string_view prefix, std::string& out) const;

  CarriageReturn carriage_return_;
  std::size_t longest_line_bytes_;
  std::string held_;           // the unfinished line
  bool after_return_ = false;  // held_ ends with '\r': whether '\n' follows decides what it means
};

}  // namespace hvd::launcher
