#include "launcher/ending.h"

#include <csignal>

namespace hvd::launcher {
namespace {
constexpr std::chrono::milliseconds kLingerGrace{1000};
constexpr std::chrono::milliseconds kKillAgain{50};
}  // namespace

void Ending::enter(Stage stage, Clock::time_point next) {
  if (stage < stage_) return;
  stage_ = stage;
  next_ = Deadline::at(next);
}

void Ending::rank_failed(Clock::time_point now) {
  if (stage_ == Stage::running) enter(Stage::failing, now + failure_grace_);
}

void Ending::signal_received(int signal, Clock::time_point now) {
  if (signal == SIGINT && interrupted_) return kill_now(now);
  interrupted_ |= signal == SIGINT;
  if (stage_ < Stage::terminating) enter(Stage::terminating, now + kill_grace_);
}

void Ending::kill_now(Clock::time_point now) {
  if (stage_ != Stage::killing) enter(Stage::killing, now);
}

void Ending::ranks_have_ended(Clock::time_point now) {
  if (stage_ < Stage::lingering) enter(Stage::lingering, now);
}

std::optional<int> Ending::due(Clock::time_point now) {
  if (next_.is_never() || now < next_.when()) return std::nullopt;
  switch (stage_) {
    case Stage::running:
      return std::nullopt;
    case Stage::failing:
      enter(Stage::terminating, now + kill_grace_);
      return SIGTERM;
    case Stage::lingering:
      if (!ranks_ended_) {
        ranks_ended_ = true;
        next_ = Deadline::at(now + kLingerGrace);
        return SIGTERM;
      }
      break;
    case Stage::terminating:
    case Stage::killing:
      break;
  }
  enter(Stage::killing, now + kKillAgain);
  return SIGKILL;
}

}  // namespace hvd::launcher
