#include "horovod_cpp/base/log.h"

#include <unistd.h>

#include <array>
#include <cctype>
#include <ctime>

#include "horovod_cpp/base/text.h"

namespace hvd {
namespace {

constexpr std::array<const char*, 7> kNames{"trace", "debug", "info", "warning", "error", "fatal", "off"};

}  // namespace

std::optional<LogLevel> parse_log_level(std::string_view word) {
  std::string lower;
  for (const char c : word) lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (lower == kNames.at(i)) return static_cast<LogLevel>(i);
  }
  return std::nullopt;
}

void Log::write(LogLevel level, const std::string& message) const {
  if (!is_on(level)) return;
  std::array<char, 32> time{};
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::localtime_r(&now, &parts);
  std::strftime(time.data(), time.size(), "%H:%M:%S", &parts);
  const std::string line = text("[horovod_cpp ", time.data(), " ", kNames.at(static_cast<std::size_t>(level)),
                                rank_ >= 0 ? text(" rank ", rank_) : std::string(), "] ", message, "\n");
  // A single write keeps the line whole; a full or closed stderr must not stop training.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace hvd
