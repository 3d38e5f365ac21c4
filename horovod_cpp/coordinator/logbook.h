// Logbook: what one rank does and has done, for people: its recorder, its timeline, and pictures of the moment.
//
// Threading: any thread. `declarations` is not owned.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "horovod_cpp/base/config.h"
#include "horovod_cpp/coordinator/declaration_table.h"
#include "horovod_cpp/coordinator/flight_recorder.h"
#include "horovod_cpp/coordinator/rank_picture.h"
#include "horovod_cpp/coordinator/timeline.h"

namespace hvd {

class Epochs;

class Logbook {
 public:
  // `row`: of the timeline; what this process was when the job began.
  Logbook(int rank, const Placement& row, const DeclarationTable& declarations,
          std::shared_ptr<const Clock> clock, Log log);

  FlightRecorder& recorder() { return *recorder_; }
  // Epochs may outlive the Session.
  const std::shared_ptr<FlightRecorder>& shared_recorder() const { return recorder_; }
  Timeline& timeline() { return timeline_; }

  using EpochsList = std::vector<std::shared_ptr<Epochs>>;
  // What this rank is doing now or, once frozen, did then.
  RankPicture picture(const EpochsList& epochs) const;
  // Keeps the picture of now for good: what follows a failure is of no interest. The first call counts.
  void freeze(const EpochsList& epochs);
  bool is_frozen() const;
  // For whatever other ranks have to do, too: since when, and in what ("allreduce 'x'"). Nothing: this rank does not wait.
  std::optional<Clock::time_point> waits_since(const EpochsList& epochs) const;
  std::optional<std::string> what_it_waits_for(const EpochsList& epochs) const;
  void warn(const std::string& words) const { log_.warning(words); }
  // The picture of all, or of this rank alone, to the log.
  void tell(const std::string& why, const std::string& words) const;
  void tell_alone(const std::string& why, const EpochsList& epochs) const;

 private:
  RankPicture take(const EpochsList& epochs) const;
  std::string name_of(const RecordedEvent& event) const;
  std::string last_event() const;

  const int rank_;
  const DeclarationTable& declarations_;
  const Log log_;
  const std::shared_ptr<FlightRecorder> recorder_;
  Timeline timeline_;
  mutable std::mutex mutex_;
  std::optional<RankPicture> frozen_;
};

}  // namespace hvd
