// Where lines of all ranks go: hvdrun's stdout or stderr.
// Buffers what the reader does not take yet; never blocks.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "horovod_cpp/base/unique_fd.h"

namespace hvd::launcher {

class OutputTarget {
 public:
  // `fd` is not owned and stays open.
  explicit OutputTarget(int fd);

  // Whole lines. Dropped once the reader is gone.
  void append(std::string_view lines);
  // Writes what the reader takes now.
  void write_some();
  // Nothing is written any more.
  void close();
  // Why bytes were dropped although there may be a reader (a full disk): errno, told once. Otherwise 0.
  int take_error();

  // Whether ranks should be read: false while the reader is behind,
  // so that they are slowed down and memory stays bounded.
  bool has_room() const { return pending_.size() - written_ < kMostPendingBytes; }
  bool has_pending() const { return written_ < pending_.size(); }
  bool is_closed() const { return closed_; }
  bool is_terminal() const { return is_terminal_; }
  int fd() const { return reopened_.is_open() ? reopened_.get() : fd_; }

 private:
  static constexpr std::size_t kMostPendingBytes = std::size_t{256} << 10;
  void forget_pending();

  int fd_;
  UniqueFd reopened_;
  bool is_terminal_;
  bool erases_lines_;          // a terminal that knows the escape sequence
  bool after_return_ = false;  // the last byte was a carriage return
  bool closed_ = false;
  int error_ = 0;  // of the first write that failed
  bool error_is_told_ = false;
  std::string pending_;
  std::size_t written_ = 0;
};

}  // namespace hvd::launcher
