// Timeline: writes what the FlightRecorder records to a file of this rank, as a Chrome trace.
//
// The file is valid JSON after every flush: each one overwrites the closing bracket. It is bounded.
// Threading: any thread. flush() is the coordinator's, at the end of rounds and when it is idle.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "horovod_cpp/base/log.h"
#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/unique_fd.h"
#include "horovod_cpp/coordinator/flight_recorder.h"
#include "horovod_cpp/coordinator/timeline_lines.h"

namespace hvd {

// The file of one rank of several; a rank alone writes `file` itself. hvdrun puts them together.
std::string timeline_part(const std::string& file, int rank, int size);

struct TimelineOptions {
  std::string file;  // of the job
  bool mark_cycles = false;
  std::size_t max_bytes = 0;                // of this rank's file
  std::chrono::nanoseconds clock_offset{};  // what this rank's clock is ahead of rank 0's
  bool goes_on = false;  // after what an earlier Session of this process has written, if that is whole
};

class Timeline {
 public:
  // How long the coordinator sleeps at most while it is on.
  static constexpr std::chrono::milliseconds kInterval{50};

  // `rank`, `size`: what this process was when the job began. They name its part and its row for good.
  Timeline(int rank, int size, const FlightRecorder& recorder, Log log, TimelineLines::Names names_of);
  ~Timeline();
  Timeline(const Timeline&) = delete;
  Timeline& operator=(const Timeline&) = delete;

  // invalid_argument if it is on already, or the file cannot be written.
  Status start(const TimelineOptions& options);
  void stop();
  bool is_on() const { return is_on_.load(std::memory_order_relaxed); }
  bool marks_cycles() const { return marks_cycles_.load(std::memory_order_relaxed); }

  // A sentence at this point of the timeline; does nothing if it is off.
  void note(const std::string& words);
  // Writes what has been recorded since; does nothing if it is off.
  void flush();
  // … if it has not for kInterval, or much has come since.
  void flush_if_due();
  // … if much has come since: before the ring overwrites it.
  void flush_if_behind();

 private:
  bool begin(const TimelineOptions& options);
  void flush_locked();
  void give_up(const std::string& why);
  bool write(std::string_view lines);

  const int rank_;
  const int size_;
  const FlightRecorder& recorder_;
  const Log log_;
  const TimelineLines::Names names_of_;

  std::atomic<bool> is_on_{false};
  std::atomic<bool> marks_cycles_{false};
  std::atomic<std::uint64_t> next_{0};  // event
  std::mutex mutex_;
  TimelineOptions options_;
  std::string path_;
  std::unique_ptr<TimelineLines> lines_;
  UniqueFd file_;
  std::atomic<std::int64_t> last_flush_ms_{0};
  std::size_t end_ = 0;  // of the last line, where the closing bracket begins
};

}  // namespace hvd
