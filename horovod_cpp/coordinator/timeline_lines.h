// TimelineLines: recorded events as lines of a Chrome trace (Perfetto reads it too). Pure but for what is open.
//
// One object a line, without the comma after it. pid is the rank; each operation and each bucket is a nestable async track of its own,
// whose slices are the whole and, within it, "waiting" and "reducing".
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "horovod_cpp/coordinator/flight_recorder.h"

namespace hvd {

// Within the quotes of a JSON string: escaped, and valid UTF-8 whatever comes in.
std::string json_escaped(std::string_view words);

class TimelineLines {
 public:
  // Words for an event's subject: what its slices are called and, said once, what it consists of (empty: nothing more to say).
  struct Names {
    std::function<std::string(const RecordedEvent&)> name;
    std::function<std::string(const RecordedEvent&)> contents;
  };
  // `offset`: what this rank's clock is ahead of rank 0's.
  TimelineLines(int rank, std::chrono::nanoseconds offset, bool mark_cycles, Names names_of);

  // What comes first: the names of the rows.
  std::vector<std::string> head() const;
  // Appends the lines of one event, each followed by ",\n".
  void append(const RecordedEvent& event, std::string& out);
  // Ends what is open.
  void close_all(Clock::time_point when, std::string& out);
  // A sentence on the rank's row.
  void append_note(Clock::time_point when, std::string_view words, std::string& out) const;

 private:
  enum class Stage : std::uint8_t { waiting, reducing };
  using Track = std::uint64_t;  // kind of subject << 32 | subject

  void slice(char phase, Track track, Clock::time_point when, std::string_view name, std::string& out,
             std::string_view arguments = {}) const;
  void open(Track track, const RecordedEvent& event, std::string& out);
  void reduce(Track track, const RecordedEvent& event, std::string& out, std::string_view arguments);
  void close(Track track, Clock::time_point when, std::string& out, std::string_view arguments);
  void decide(const RecordedEvent& event, std::string& out);

  const std::string pid_;
  const int rank_;
  const std::chrono::nanoseconds offset_;
  const bool mark_cycles_;
  const Names names_of_;
  std::unordered_map<Track, std::string> names_;  // escaped
  std::unordered_map<Track, Stage> open_;
};

}  // namespace hvd
