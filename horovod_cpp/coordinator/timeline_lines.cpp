#include "horovod_cpp/coordinator/timeline_lines.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/coordinator/epoch_words.h"

namespace hvd {
namespace {

// Kinds of tracks.
constexpr std::uint64_t kOperation = std::uint64_t{1} << 32U;
constexpr std::uint64_t kBucket = std::uint64_t{2} << 32U;
constexpr std::uint64_t kEpoch = std::uint64_t{3} << 32U;

std::uint64_t track_of(const RecordedEvent& event) {
  switch (event.what) {
    case Happening::published:
    case Happening::all_ready:
    case Happening::reduced:
      return kBucket | event.subject;
    case Happening::closed:
    case Happening::awaits:
    case Happening::decided:
      return kEpoch | event.subject;
    default:
      return kOperation | event.subject;
  }
}

const char* category_of(std::uint64_t track) {
  const std::uint64_t kind = track & ~std::uint64_t{0xFFFFFFFF};
  return kind == kOperation ? "operation" : kind == kBucket ? "bucket" : "epoch";
}

void put_number(std::uint64_t number, std::string& out) {
  std::array<char, 24> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  out.append(digits.data(), end);
}

// Microseconds with three digits after the point.
void put_time(std::chrono::nanoseconds when, std::string& out) {
  const auto all = static_cast<std::uint64_t>(std::max<std::int64_t>(0, when.count()));
  put_number(all / 1000, out);
  out += '.';
  const std::uint64_t rest = all % 1000;
  if (rest < 100) out += '0';
  if (rest < 10) out += '0';
  put_number(rest, out);
}

// How many bytes of a well-formed UTF-8 character begin here; 0: none does.
std::size_t utf8_length(std::string_view words) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(words[i]); };
  const unsigned char first = byte(0);
  const std::size_t length = first < 0x80   ? 1
                             : first < 0xC2 ? 0
                             : first < 0xE0 ? 2
                             : first < 0xF0 ? 3
                             : first < 0xF5 ? 4
                                            : 0;
  if (length == 0 || length > words.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0U) != 0x80U) return 0;
  }
  if (length >= 3) {  // too long a form, surrogates, beyond the last character
    const unsigned char second = byte(1);
    if (first == 0xE0 && second < 0xA0) return 0;
    if (first == 0xED && second > 0x9F) return 0;
    if (first == 0xF0 && second < 0x90) return 0;
    if (first == 0xF4 && second > 0x8F) return 0;
  }
  return length;
}

const char* name_of_outcome(std::uint32_t state) {
  switch (static_cast<EpochState>(state)) {
    case EpochState::complete:
      return R"("outcome":"complete")";
    case EpochState::dropped:
      return R"("outcome":"dropped")";
    case EpochState::failed:
      return R"("outcome":"failed")";
    default:
      return R"("outcome":"open")";
  }
}

}  // namespace

std::string json_escaped(std::string_view words) {
  std::string out;
  while (!words.empty()) {
    const std::size_t length = utf8_length(words);
    const auto first = static_cast<unsigned char>(words.front());
    if (length == 0) {
      out += "\\ufffd";
    } else if (first == '"' || first == '\\') {
      out += '\\';
      out += words.front();
    } else if (first < 0x20) {
      out += "\\u00";
      out += "0123456789abcdef"[first >> 4U];
      out += "0123456789abcdef"[first & 15U];
    } else {
      out += words.substr(0, length);
    }
    words.remove_prefix(std::max<std::size_t>(1, length));
  }
  return out;
}

TimelineLines::TimelineLines(int rank, std::chrono::nanoseconds offset, bool mark_cycles, Names names_of)
    : pid_(text("\"pid\":", rank)),
      rank_(rank),
      offset_(offset),
      mark_cycles_(mark_cycles),
      names_of_(std::move(names_of)) {}

std::vector<std::string> TimelineLines::head() const {
  return {text(R"({"ph":"M",)", pid_, R"(,"name":"process_name","args":{"name":"rank )", rank_, R"("}})"),
          text(R"({"ph":"M",)", pid_, R"(,"name":"process_sort_index","args":{"sort_index":)", rank_, "}}"),
          text(R"({"ph":"M",)", pid_, R"(,"tid":0,"name":"thread_name","args":{"name":"steps"}})")};
}

void TimelineLines::slice(char phase, Track track, Clock::time_point when, std::string_view name,
                          std::string& out, std::string_view arguments) const {
  const char* const category = category_of(track);
  out += R"({"ph":")";
  out += phase;
  out += R"(","cat":")";
  out += category;
  out += R"(",)";
  out += pid_;
  out += R"(,"tid":0,"id2":{"local":")";
  out += *category;
  put_number(track & 0xFFFFFFFFU, out);
  out += R"("},"ts":)";
  put_time(when.time_since_epoch() - offset_, out);
  out += R"(,"name":")";
  out += name;
  out += '"';
  if (!arguments.empty()) {
    out += R"(,"args":{)";
    out += arguments;
    out += '}';
  }
  out += "},\n";
}

void TimelineLines::open(Track track, const RecordedEvent& event, std::string& out) {
  // What had no end that was seen ends here.
  close(track, event.when, out, {});
  std::string arguments;
  auto known = names_.find(track);
  if (known == names_.end()) {
    known = names_.emplace(track, json_escaped(names_of_.name(event))).first;
    const std::string contents = names_of_.contents(event);
    if (!contents.empty()) arguments = text(R"("holds":")", json_escaped(contents), '"');
  }
  slice('b', track, event.when, known->second, out, arguments);
  slice('b', track, event.when, "waiting", out);
  open_[track] = Stage::waiting;
}

void TimelineLines::reduce(Track track, const RecordedEvent& event, std::string& out,
                           std::string_view arguments) {
  const auto found = open_.find(track);
  if (found == open_.end() || found->second != Stage::waiting) return;
  slice('e', track, event.when, "waiting", out, arguments);
  slice('b', track, event.when, "reducing", out);
  found->second = Stage::reducing;
}

void TimelineLines::close(Track track, Clock::time_point when, std::string& out, std::string_view arguments) {
  const auto found = open_.find(track);
  if (found == open_.end()) return;
  slice('e', track, when, found->second == Stage::waiting ? "waiting" : "reducing", out);
  slice('e', track, when, names_.at(track), out, arguments);
  open_.erase(found);
}

void TimelineLines::close_all(Clock::time_point when, std::string& out) {
  while (!open_.empty()) close(open_.begin()->first, when, out, {});
}

// What the other ranks have reduced ends here too.
void TimelineLines::decide(const RecordedEvent& event, std::string& out) {
  std::vector<Track> ended;
  for (const auto& [track, stage] : open_) {
    const auto subject = static_cast<std::uint32_t>(track);
    if (track >> 32U == kBucket >> 32U &&
        FlightRecorder::plan_of(subject) == FlightRecorder::plan_of(event.subject))
      ended.push_back(track);
  }
  for (const Track track : ended) close(track, event.when, out, {});
  close(track_of(event), event.when, out, name_of_outcome(event.number));
}

void TimelineLines::append(const RecordedEvent& event, std::string& out) {
  const Track track = track_of(event);
  switch (event.what) {
    case Happening::submitted:
    case Happening::published:
    case Happening::closed:
      open(track, event, out);
      break;
    case Happening::announced:
      if (open_.contains(track)) slice('n', track, event.when, "announced", out);
      break;
    case Happening::begun:
      reduce(track, event, out, event.number == 0 ? "" : text(R"("waited_for_rank":)", event.number - 1));
      break;
    case Happening::all_ready:
      reduce(track, event, out, {});
      break;
    case Happening::ended:
    case Happening::reduced:
      close(track, event.when, out, {});
      break;
    case Happening::failed:
      close(track, event.when, out, R"("failed":true)");
      break;
    case Happening::awaits:
      if (open_.contains(track)) slice('n', track, event.when, text("waits for rank ", event.number), out);
      break;
    case Happening::decided:
      decide(event, out);
      break;
    case Happening::step:
      append_note(event.when, text("step ", event.number), out);
      break;
    case Happening::round:
      if (mark_cycles_) append_note(event.when, "round", out);
      break;
  }
}

void TimelineLines::append_note(Clock::time_point when, std::string_view words, std::string& out) const {
  out += R"({"ph":"i","s":"p",)";
  out += pid_;
  out += R"(,"tid":0,"ts":)";
  put_time(when.time_since_epoch() - offset_, out);
  out += R"(,"name":")";
  out += json_escaped(words);
  out += "\"},\n";
}

}  // namespace hvd
