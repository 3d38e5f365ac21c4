#include "examples/shared/progress.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

namespace examples {
namespace {

constexpr std::int64_t kBarWidth = 24;
constexpr std::chrono::milliseconds kRedraw{50};

}  // namespace

Progress::Progress(bool is_shown, std::string unit)
    : is_shown_(is_shown),
      // Both: mpirun gives rank 0 a terminal for its output only, whatever its own output is.
      is_terminal_(::isatty(STDOUT_FILENO) == 1 && ::isatty(STDERR_FILENO) == 1),
      unit_(std::move(unit)) {}

void Progress::begin(const std::string& stage, std::int64_t steps) {
  stage_ = stage;
  steps_ = steps;
  done_ = 0;
  units_ = 0;
  loss_sum_ = 0;
  started_ = last_step_ = std::chrono::steady_clock::now();
}

void Progress::step(double loss, std::int64_t units) {
  ++done_;
  units_ += units;
  loss_sum_ += loss;
  last_step_ = std::chrono::steady_clock::now();
  if (is_shown_ && is_terminal_ && last_step_ - drawn_ >= kRedraw) draw();
}

void Progress::end(const std::string& remark) {
  if (!is_shown_) return;
  if (is_terminal_) draw();
  const std::string before = is_terminal_ ? "" : line("");
  std::printf("%s%s%s\n", before.c_str(), remark.empty() ? "" : "  ", remark.c_str());
  std::fflush(stdout);
}

std::string Progress::line(const std::string& bar) const {
  const double loss = loss_sum_ / static_cast<double>(std::max<std::int64_t>(done_, 1));
  const std::chrono::duration<double> seconds = last_step_ - started_;
  std::array<char, 80> numbers{};
  std::snprintf(numbers.data(), numbers.size(), "loss %.4f  %.0f ", loss,
                static_cast<double>(units_) / std::max(seconds.count(), 1e-9));
  return stage_ + "  " + bar + numbers.data() + unit_ + "/s";
}

void Progress::draw() {
  drawn_ = last_step_;
  const std::int64_t full = steps_ > 0 ? done_ * kBarWidth / steps_ : kBarWidth;
  const std::string bar = std::string(static_cast<std::size_t>(full), '#') +
                          std::string(static_cast<std::size_t>(kBarWidth - full), '.');
  std::printf("\r%s  ", line("[" + bar + "]  ").c_str());
  std::fflush(stdout);
}

}  // namespace examples
