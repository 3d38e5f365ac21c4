#include "bindings/runtime/clock_alignment.h"

#include <algorithm>
#include <vector>

namespace hvd {
namespace {

constexpr int kQuestions = 8;

std::int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

template <class T>
std::span<std::byte> bytes_of(T& value) {
  return std::as_writable_bytes(std::span(&value, 1));
}

Status answer(Transport& transport, int rank, Deadline deadline) {
  for (int i = 0; i < kQuestions; ++i) {
    std::byte question{};
    HVD_RETURN_IF_ERROR(transport.exchange(rank, {}, rank, {&question, 1}, deadline));
    std::int64_t time = now();
    HVD_RETURN_IF_ERROR(transport.exchange(rank, bytes_of(time), rank, {}, deadline));
  }
  return {};
}

}  // namespace

std::chrono::nanoseconds clock_ahead(std::span<const ClockSample> samples) {
  if (samples.empty()) return {};
  const auto fastest = std::min_element(
      samples.begin(), samples.end(),
      [](const ClockSample& a, const ClockSample& b) { return a.received - a.sent < b.received - b.sent; });
  const std::int64_t middle = fastest->sent + (fastest->received - fastest->sent) / 2;
  return std::chrono::nanoseconds(middle - fastest->theirs);
}

Result<std::chrono::nanoseconds> measure_clock_ahead(Transport& transport, Deadline deadline) {
  if (transport.rank() == 0) {
    for (int rank = 1; rank < transport.size(); ++rank)
      HVD_RETURN_IF_ERROR(answer(transport, rank, deadline));
    return std::chrono::nanoseconds(0);
  }
  std::vector<ClockSample> samples;
  for (int i = 0; i < kQuestions; ++i) {
    std::byte question{1};
    ClockSample sample;
    sample.sent = now();
    HVD_RETURN_IF_ERROR(transport.exchange(0, {&question, 1}, 0, {}, deadline));
    HVD_RETURN_IF_ERROR(transport.exchange(0, {}, 0, bytes_of(sample.theirs), deadline));
    sample.received = now();
    samples.push_back(sample);
  }
  return clock_ahead(samples);
}

}  // namespace hvd
