#include "horovod_cpp/coordinator/logbook.h"

#include <algorithm>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/coordinator/epochs.h"

namespace hvd {
namespace {

// Bounds of what goes into one message.
constexpr std::size_t kMostMembers = 256;
constexpr std::size_t kMostEpochs = 8;
constexpr std::size_t kMostAwaited = 16;

std::chrono::milliseconds age_of(Clock::time_point when, Clock::time_point now) {
  return std::max(std::chrono::milliseconds(0),
                  std::chrono::duration_cast<std::chrono::milliseconds>(now - when));
}

const char* words_for(Happening what) {
  switch (what) {
    case Happening::submitted:
      return "submitted";
    case Happening::announced:
      return "submitted, and known to all ranks";
    case Happening::begun:
      return "begun";
    case Happening::ended:
      return "done";
    case Happening::failed:
      return "failed";
    case Happening::published:
      return "produced";
    case Happening::all_ready:
      return "being reduced";
    case Happening::reduced:
      return "reduced";
    case Happening::closed:
    case Happening::awaits:
      return "end of backward reached";
    case Happening::decided:
      return "end of backward passed on all ranks";
    case Happening::step:
      return "taken";
    case Happening::round:
      return "negotiated";
  }
  return "";
}

}  // namespace

Logbook::Logbook(int rank, const Placement& row, const DeclarationTable& declarations,
                 std::shared_ptr<const Clock> clock, Log log)
    : rank_(rank),
      declarations_(declarations),
      log_(log),
      recorder_(std::make_shared<FlightRecorder>(std::move(clock))),
      timeline_(row.rank, row.size, *recorder_, log,
                {[this](const RecordedEvent& event) { return name_of(event); },
                 [this](const RecordedEvent& event) {
                   return event.what == Happening::published ? recorder_->bucket_contents(event.subject)
                                                             : std::string();
                 }}) {}

std::string Logbook::name_of(const RecordedEvent& event) const {
  switch (event.what) {
    case Happening::published:
    case Happening::all_ready:
    case Happening::reduced:
      return recorder_->bucket_name(event.subject);
    case Happening::closed:
    case Happening::awaits:
    case Happening::decided:
      return recorder_->plan_name(event.subject);
    case Happening::step:
      return text("step ", event.number);
    case Happening::round:
      return "a round";
    default:
      break;
  }
  const auto declaration = declarations_.find({static_cast<std::int32_t>(event.subject)});
  return declaration ? describe(*declaration) : text("operation ", event.subject);
}

std::string Logbook::last_event() const {
  const std::vector<RecordedEvent> last = recorder_->last(1);
  if (last.empty()) return "nothing yet";
  const auto age = age_of(last.back().when, recorder_->now());
  return text(name_of(last.back()), " ", words_for(last.back().what), ", ",
              age.count() < 1000 ? text(age.count(), " ms") : text(age.count() / 1000, " s"), " ago");
}

RankPicture Logbook::take(const EpochsList& epochs) const {
  RankPicture picture;
  const auto now = std::chrono::steady_clock::now();
  picture.steps = recorder_->steps();
  picture.last = last_event();
  for (const DeclarationTable::Pending& one : declarations_.pending()) {
    const bool is_of_all = one.declaration->process_set == 0 || concerns_all_ranks(one.declaration->kind);
    auto members = is_of_all
                       ? std::vector<int>{}
                       : declarations_.members(one.declaration->process_set).value_or(std::vector<int>{});
    if (picture.pending.size() == RankPicture::kMostPending || members.size() > kMostMembers) {
      ++picture.more_pending;
      continue;
    }
    picture.pending.push_back({describe(*one.declaration), std::move(members), age_of(one.since, now)});
  }
  for (const auto& one : epochs) {
    const auto since = one->awaits_since();
    if (!since || picture.epochs.size() == kMostEpochs) continue;
    const std::uint32_t plan = one->recorded_as().plan;
    RankPicture::Epoch epoch{
        recorder_->plan_name(FlightRecorder::bucket_subject(plan, 0)), {}, age_of(*since, now)};
    for (const Epochs::Awaited& awaited : one->awaited()) {
      if (epoch.awaited.size() == kMostAwaited) break;
      const bool has_bucket = !awaited.unpublished.empty();
      epoch.awaited.push_back({awaited.rank, static_cast<std::uint32_t>(awaited.unpublished.size()),
                               has_bucket ? recorder_->bucket_name(FlightRecorder::bucket_subject(
                                                plan, awaited.unpublished.front()))
                                          : std::string()});
    }
    if (!epoch.awaited.empty()) picture.epochs.push_back(std::move(epoch));
  }
  return picture;
}

RankPicture Logbook::picture(const EpochsList& epochs) const {
  {
    const std::lock_guard lock(mutex_);
    if (frozen_) return *frozen_;
  }
  return take(epochs);
}

void Logbook::freeze(const EpochsList& epochs) {
  if (is_frozen()) return;
  RankPicture now = take(epochs);
  const std::lock_guard lock(mutex_);
  if (!frozen_) frozen_ = std::move(now);
}

bool Logbook::is_frozen() const {
  const std::lock_guard lock(mutex_);
  return frozen_.has_value();
}

std::optional<Clock::time_point> Logbook::waits_since(const EpochsList& epochs) const {
  std::optional<Clock::time_point> first;
  const auto pending = declarations_.pending();
  if (!pending.empty()) first = pending.front().since;
  for (const auto& one : epochs) {
    if (const auto since = one->awaits_since()) first = std::min(first.value_or(*since), *since);
  }
  return first;
}

std::optional<std::string> Logbook::what_it_waits_for(const EpochsList& epochs) const {
  const auto pending = declarations_.pending();
  if (!pending.empty()) return describe(*pending.front().declaration);
  for (const auto& one : epochs) {
    if (one->awaits_since()) return "the end of a backward";
  }
  return std::nullopt;
}

void Logbook::tell(const std::string& why, const std::string& words) const {
  log_.warning(text("what the ranks are doing (", why, "):\n", words));
}

void Logbook::tell_alone(const std::string& why, const EpochsList& epochs) const {
  const RankSeen mine{rank_, picture(epochs), ""};
  tell(text(why, "; of this rank only"), words_of({&mine, 1}));
}

}  // namespace hvd
