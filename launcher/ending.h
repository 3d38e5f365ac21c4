// How a job is brought to its end: which signal is due when. Pure: time comes in, signals come out.
//
//   a rank failed ──failure_grace──► SIGTERM ──kill_grace──► SIGKILL, repeated until nothing is left
//   hvdrun got a signal (passed on by the caller) ──kill_grace──► SIGKILL
//   second SIGINT, or the front process died ──► SIGKILL
//   all ranks have ended, processes they started have not ──► SIGTERM ──2 s──► SIGKILL
#pragma once

#include <chrono>
#include <optional>

#include "horovod_cpp/base/deadline.h"

namespace hvd::launcher {

class Ending {
 public:
  using Clock = std::chrono::steady_clock;

  Ending(std::chrono::milliseconds failure_grace, std::chrono::milliseconds kill_grace)
      : failure_grace_(failure_grace), kill_grace_(kill_grace) {}

  void rank_failed(Clock::time_point now);
  // `signal`: SIGINT, SIGTERM, SIGHUP or SIGQUIT.
  void signal_received(int signal, Clock::time_point now);
  void kill_now(Clock::time_point now);
  void ranks_have_ended(Clock::time_point now);

  // The signal that everybody who is left gets now, if one is due. Call again until nothing is.
  std::optional<int> due(Clock::time_point now);
  // When due() will next have something to say.
  Deadline next() const { return next_; }
  bool is_running() const { return stage_ == Stage::running; }

 private:
  enum class Stage { running, failing, terminating, lingering, killing };
  void enter(Stage stage, Clock::time_point next);

  std::chrono::milliseconds failure_grace_;
  std::chrono::milliseconds kill_grace_;
  Stage stage_ = Stage::running;
  Deadline next_ = Deadline::never();
  bool interrupted_ = false;
  bool ranks_ended_ = false;
};

}  // namespace hvd::launcher
