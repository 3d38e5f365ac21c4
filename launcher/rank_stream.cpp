#include "launcher/rank_stream.h"

#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <utility>

#include "horovod_cpp/base/text.h"

namespace hvd::launcher {
namespace {

std::string time_now() {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  std::tm local{};
  localtime_r(&seconds, &local);
  char words[64];
  const std::size_t length = std::strftime(words, sizeof words, "%Y-%m-%dT%H:%M:%S", &local);
  std::snprintf(words + length, sizeof words - length, ".%03d ", static_cast<int>(ms));
  return words;
}

}  // namespace

RankStream::RankStream(int rank, UniqueFd pipe, UniqueFd file, OutputTarget* target, LineStyle style)
    : rank_(rank),
      pipe_(std::move(pipe)),
      file_(std::move(file)),
      target_(target),
      style_(style),
      prefixer_(target->is_terminal() ? CarriageReturn::keep : CarriageReturn::newline) {}

std::string RankStream::prefix() const {
  std::string words;
  if (style_.timestamp) words += time_now();
  if (style_.rank) words += text("[", rank_, "] ");
  return words;
}

void RankStream::read_some(bool writers_are_gone) {
  char bytes[64 << 10];
  const ssize_t count = read(pipe_.get(), bytes, sizeof bytes);
  if (count < 0 && (errno == EINTR || (errno == EAGAIN && !writers_are_gone))) return;
  if (count <= 0) return finish();

  const std::string_view received(bytes, static_cast<std::size_t>(count));
  keep_in_file(received);
  if (target_->is_closed()) {
    if (!file_.is_open()) finish();
    return;
  }
  if (style_.raw) return target_->append(received);
  std::string lines;
  prefixer_.append(received, prefix(), lines);
  target_->append(lines);
}

void RankStream::keep_in_file(std::string_view bytes) {
  while (file_.is_open() && !bytes.empty()) {
    const ssize_t count = write(file_.get(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      target_->append(text("hvdrun: the output file of rank ", rank_,
                           " cannot be written: ", std::strerror(errno), "\n"));
      file_.reset();
      return;
    }
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
}

void RankStream::finish() {
  std::string lines;
  prefixer_.finish(prefix(), lines);
  target_->append(lines);
  pipe_.reset();
  file_.reset();
}

}  // namespace hvd::launcher
