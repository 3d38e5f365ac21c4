// One line to stderr, prefixed with time, level and rank. Threads and processes do not mix within a line.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace hvd {

enum class LogLevel { trace, debug, info, warning, error, fatal, off };

// "warning" or "WARNING" → LogLevel::warning. Nothing for other words.
std::optional<LogLevel> parse_log_level(std::string_view word);

class Log {
 public:
  // Lines below `level` are dropped. `rank` < 0: no rank is shown.
  Log(LogLevel level, int rank) : level_(level), rank_(rank) {}
  Log() = default;

  bool is_on(LogLevel level) const { return level >= level_; }
  void write(LogLevel level, const std::string& message) const;
  void warning(const std::string& message) const { write(LogLevel::warning, message); }
  void info(const std::string& message) const { write(LogLevel::info, message); }
  void debug(const std::string& message) const { write(LogLevel::debug, message); }
  void error(const std::string& message) const { write(LogLevel::error, message); }

 private:
  LogLevel level_ = LogLevel::warning;
  int rank_ = -1;
};

}  // namespace hvd
