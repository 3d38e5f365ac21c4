#include "horovod_cpp/coordinator/timeline.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "horovod_cpp/base/process_limits.h"
#include "horovod_cpp/base/text.h"

namespace hvd {
namespace {

constexpr std::string_view kClosing = "\n]\n";
constexpr std::string_view kSeparator = ",\n";

// False, and errno: not all was written.
bool write_all(int file, std::string_view bytes, std::size_t at) {
  if (at + bytes.size() > file_size_limit_bytes()) {
    errno = EFBIG;
    return false;
  }
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(written));
    at += static_cast<std::size_t>(written);
  }
  return true;
}

// Where the closing bracket begins; 0 if the file does not end with one.
std::size_t end_of_lines(int file) {
  const off_t size = ::lseek(file, 0, SEEK_END);
  std::array<char, kClosing.size()> last{};
  const auto most = static_cast<off_t>(last.size());
  if (size <= most || ::pread(file, last.data(), last.size(), size - most) != most) return 0;
  return std::string_view(last.data(), last.size()) == kClosing ? static_cast<std::size_t>(size - most) : 0;
}

std::int64_t milliseconds_now() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

}  // namespace

std::string timeline_part(const std::string& file, int rank, int size) {
  return size == 1 ? file : text(file, ".rank", rank);
}

Timeline::Timeline(int rank, int size, const FlightRecorder& recorder, Log log, TimelineLines::Names names_of)
    : rank_(rank), size_(size), recorder_(recorder), log_(log), names_of_(std::move(names_of)) {}

Timeline::~Timeline() { stop(); }

Status Timeline::start(const TimelineOptions& options) {
  const std::lock_guard lock(mutex_);
  if (is_on_.load()) {
    return Status::invalid_argument(
        text("rank ", rank_, ": the timeline is being written to ", path_, " already; stop it first"));
  }
  const std::string path = timeline_part(options.file, rank_, size_);
  UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | (options.goes_on ? 0 : O_TRUNC), 0666));
  if (!file.is_open()) {
    return Status::invalid_argument(text("rank ", rank_, ": the timeline cannot be written to ", path, ": ",
                                         error_text(errno), ". Name a file in a folder that exists."));
  }
  options_ = options;
  path_ = path;
  file_ = std::move(file);
  lines_ = std::make_unique<TimelineLines>(rank_, options.clock_offset, options.mark_cycles, names_of_);
  if (!begin(options)) {
    return Status::invalid_argument(
        text("rank ", rank_, ": the timeline cannot be written to ", path, ": ", error_text(errno)));
  }
  next_.store(recorder_.count());
  marks_cycles_.store(options.mark_cycles);
  is_on_.store(true);
  return {};
}

bool Timeline::begin(const TimelineOptions& options) {
  if (options.goes_on) {
    end_ = end_of_lines(file_.get());
    if (end_ > 0) return true;
    if (::ftruncate(file_.get(), 0) != 0) return false;
  }
  std::string head = "[\n";
  for (const std::string& line : lines_->head()) {
    if (head.size() > 2) head += kSeparator;
    head += line;
  }
  end_ = head.size();
  return write_all(file_.get(), head + std::string(kClosing), 0);
}

void Timeline::stop() {
  const std::lock_guard lock(mutex_);
  flush_locked();
  if (!is_on()) return;
  std::string lines;
  lines_->close_all(recorder_.now(), lines);
  if (!write(lines)) return;
  is_on_.store(false);
  marks_cycles_.store(false);
  file_.reset();
}

void Timeline::note(const std::string& words) {
  const std::lock_guard lock(mutex_);
  flush_locked();
  if (!is_on()) return;
  std::string lines;
  lines_->append_note(recorder_.now(), words, lines);
  write(lines);
}

void Timeline::flush() {
  if (!is_on()) return;
  const std::lock_guard lock(mutex_);
  flush_locked();
}

void Timeline::flush_if_due() {
  if (!is_on()) return;
  if (milliseconds_now() - last_flush_ms_.load(std::memory_order_relaxed) >= kInterval.count()) {
    flush();
  } else {
    flush_if_behind();
  }
}

void Timeline::flush_if_behind() {
  if (is_on() && recorder_.count() - next_.load(std::memory_order_relaxed) > FlightRecorder::kCapacity / 4)
    flush();
}

void Timeline::flush_locked() {
  if (!is_on()) return;
  last_flush_ms_.store(milliseconds_now(), std::memory_order_relaxed);
  const FlightRecorder::Reading reading = recorder_.read(next_.load(std::memory_order_relaxed));
  next_.store(reading.next, std::memory_order_relaxed);
  if (reading.events.empty()) return;
  std::string lines;
  if (reading.lost > 0) {
    lines_->append_note(reading.events.front().when,
                        text(reading.lost, " events were too fast for the timeline"), lines);
  }
  for (const RecordedEvent& event : reading.events) {
    lines_->append(event, lines);
    if (end_ + lines.size() < options_.max_bytes) continue;
    lines_->append_note(event.when, "the timeline ends here: HVD_TIMELINE_MAX_MB is reached", lines);
    if (write(lines)) give_up(text(options_.max_bytes >> 20U, " MiB (HVD_TIMELINE_MAX_MB) are reached"));
    return;
  }
  write(lines);
}

// `lines` end with the separator, which belongs before them.
bool Timeline::write(std::string_view lines) {
  if (lines.empty()) return true;
  std::string bytes(kSeparator);
  bytes += lines.substr(0, lines.size() - kSeparator.size());
  const std::size_t length = bytes.size();
  bytes += kClosing;
  if (write_all(file_.get(), bytes, end_)) {
    end_ += length;
    return true;
  }
  const std::string why = error_text(errno);
  // As it was before.
  static_cast<void>(write_all(file_.get(), kClosing, end_));
  [[maybe_unused]] const int cut = ::ftruncate(file_.get(), static_cast<off_t>(end_ + kClosing.size()));
  give_up(why);
  return false;
}

void Timeline::give_up(const std::string& why) {
  is_on_.store(false);
  marks_cycles_.store(false);
  file_.reset();
  log_.warning(text("the timeline in ", path_, " ends here: ", why));
}

}  // namespace hvd
