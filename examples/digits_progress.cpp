#include "examples/digits_progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>

namespace digits {
namespace {

constexpr std::int64_t kBarWidth = 24;
constexpr std::chrono::milliseconds kRedraw{50};

}  // namespace

Progress::Progress(bool is_shown, int epochs)
    : is_shown_(is_shown),
      // Both: mpirun gives rank 0 a terminal for its output only, whatever its own output is.
      is_terminal_(::isatty(STDOUT_FILENO) == 1 && ::isatty(STDERR_FILENO) == 1),
      epochs_(epochs) {}

void Progress::begin_epoch(int epoch, std::int64_t steps) {
  epoch_ = epoch;
  steps_ = steps;
  done_ = 0;
  samples_ = 0;
  loss_sum_ = 0;
  started_ = std::chrono::steady_clock::now();
}

void Progress::step(double loss, std::int64_t samples) {
  ++done_;
  samples_ += samples;
  loss_sum_ += loss;
  if (!is_shown_ || !is_terminal_ || std::chrono::steady_clock::now() - drawn_ < kRedraw) return;
  drawn_ = std::chrono::steady_clock::now();
  draw();
}

void Progress::end_epoch() {
  if (!is_shown_) return;
  if (is_terminal_) {
    draw();
    std::printf("\n");
  } else {
    std::printf("epoch %d/%d  loss %.4f  %.0f samples/s\n", epoch_, epochs_, mean_loss(),
                samples_per_second());
  }
  std::fflush(stdout);
}

double Progress::mean_loss() const {
  return loss_sum_ / static_cast<double>(std::max<std::int64_t>(done_, 1));
}

double Progress::samples_per_second() const {
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - started_;
  return static_cast<double>(samples_) / std::max(seconds.count(), 1e-9);
}

void Progress::draw() const {
  const std::int64_t full = steps_ > 0 ? done_ * kBarWidth / steps_ : kBarWidth;
  const std::string bar = std::string(static_cast<std::size_t>(full), '#') +
                          std::string(static_cast<std::size_t>(kBarWidth - full), '.');
  std::printf("\repoch %d/%d  [%s]  loss %.4f  %.0f samples/s   ", epoch_, epochs_, bar.c_str(), mean_loss(),
              samples_per_second());
  std::fflush(stdout);
}

}  // namespace digits
