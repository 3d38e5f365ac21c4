#include "tests/bench/gradients.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

#include "horovod_cpp/base/text.h"

namespace hvd::bench {
namespace {

std::size_t elements_of(const NamedShape& tensor) {
  return static_cast<std::size_t>(element_count(tensor.shape));
}

constexpr std::size_t kPeriod = 64;

// What all ranks have in common in element i is pattern[i mod 64].
std::array<float, kPeriod> pattern_of(std::size_t first, int round) {
  std::array<float, kPeriod> pattern{};
  for (std::size_t i = 0; i < kPeriod; ++i)
    pattern[i] = static_cast<float>((first + i + 7 * static_cast<std::size_t>(round)) % kPeriod);
  return pattern;
}

}  // namespace

void fill(std::span<float> values, std::size_t first, int rank, int round) {
  auto pattern = pattern_of(first, round);
  for (float& value : pattern) value += static_cast<float>(rank) * 0.5F;
  while (!values.empty()) {
    const std::size_t count = std::min(values.size(), kPeriod);
    std::copy_n(pattern.begin(), count, values.begin());
    values = values.subspan(count);
  }
}

Status verify(std::span<const float> values, std::size_t first, int ranks, int round, double factor) {
  const double own_parts = 0.25 * ranks * (ranks - 1);
  auto expected = pattern_of(first, round);
  for (float& value : expected)
    value = static_cast<float>(factor * (ranks * static_cast<double>(value) + own_parts));
  for (std::size_t begin = 0; begin < values.size(); begin += kPeriod) {
    const std::size_t count = std::min(values.size() - begin, kPeriod);
    // Exact unless `factor` is not a power of two.
    bool is_right = true;
    for (std::size_t i = 0; i < count; ++i)
      is_right &= std::abs(values[begin + i] - expected[i]) <= 1e-6F * expected[i];
    if (is_right) continue;
    for (std::size_t i = 0; i < count; ++i) {
      if (std::abs(values[begin + i] - expected[i]) <= 1e-6F * expected[i]) continue;
      return Status::internal(text("wrong result: repetition ", round, ", element ", first + begin + i,
                                   " is ", values[begin + i], ", expected ", expected[i]));
    }
  }
  return {};
}

std::uint64_t digest(std::span<const float> values, std::uint64_t before) {
  // FNV-1a, a word at a time.
  std::uint64_t hash = before ^ 0xcbf29ce484222325U;
  for (const float value : values) hash = (hash ^ std::bit_cast<std::uint32_t>(value)) * 0x100000001b3U;
  return hash;
}

void give_back(std::span<float> values) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t before = (page - reinterpret_cast<std::uintptr_t>(values.data()) % page) % page;
  if (before >= values.size_bytes()) return;
  const std::size_t bytes = (values.size_bytes() - before) / page * page;
  if (bytes > 0) ::madvise(std::as_writable_bytes(values).data() + before, bytes, MADV_DONTNEED);
}

Gradients::Gradients(const Workload& workload, Layout layout) {
  if (layout == Layout::contiguous) {
    std::span<float> rest = storage_.emplace_back(workload.element_count());
    for (const auto& tensor : workload.tensors) {
      tensors_.push_back(rest.first(elements_of(tensor)));
      rest = rest.subspan(elements_of(tensor));
    }
  } else {
    for (const auto& tensor : workload.tensors)
      tensors_.emplace_back(storage_.emplace_back(elements_of(tensor)));
  }
}

void Gradients::fill(int rank, int round) {
  std::size_t first = 0;
  for (const auto tensor : tensors_) {
    bench::fill(tensor, first, rank, round);
    first += tensor.size();
  }
}

Status Gradients::verify(int ranks, int round, double factor) const {
  std::size_t first = 0;
  for (const auto tensor : tensors_) {
    HVD_RETURN_IF_ERROR(bench::verify(tensor, first, ranks, round, factor));
    first += tensor.size();
  }
  return {};
}

void Gradients::give_back() {
  for (auto& storage : storage_) bench::give_back(storage);
}

}  // namespace hvd::bench
