#include "horovod_cpp/coordinator/epoch_plan.h"

#include <algorithm>
#include <bit>
#include <cstdint>

#include "horovod_cpp/base/fingerprint.h"

namespace hvd {
namespace {

constexpr std::size_t kWordBytes =
    128;  // each alone on a pair of cache lines: processors fetch neighbours together

std::size_t round_up(std::size_t value, std::size_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

EpochLayout::EpochLayout(const EpochPlan& plan) {
  std::size_t chunks = 0;
  for (const EpochBucket& bucket : plan.buckets) {
    first_chunk.push_back(chunks);
    const std::size_t bytes = bucket.count * size_in_bytes(bucket.dtype);
    // An empty bucket has flags.
    chunks += std::max<std::size_t>(1, round_up(bytes, plan.chunk_bytes) / plan.chunk_bytes);
  }
  first_chunk.push_back(chunks);
  const std::size_t words = plan.buckets.size() * kWordBytes;
  ready = kPageBytes;
  claim = ready + words;
  done = claim + words;
  squares = done + words;
  own_flags = squares + chunks * sizeof(double);
  combined_flags = round_up(own_flags + plan.flags, kWordBytes);
  payload = round_up(combined_flags + plan.flags, kPageBytes);
  total_bytes = payload + plan.payload_bytes;
}

std::size_t fitted_chunk_bytes(const Caches& caches) {
  return std::clamp(std::bit_floor(caches.second / 4), std::size_t{64} << 10U, std::size_t{512} << 10U);
}

std::int64_t fingerprint_of(const EpochPlan& plan) {
  Fingerprint out;
  for (const EpochBucket& bucket : plan.buckets) {
    for (const std::size_t number : {bucket.begin_bytes, bucket.count, static_cast<std::size_t>(bucket.dtype),
                                     bucket.first_flag, bucket.flag_count}) {
      out.add(number);
    }
  }
  for (const std::size_t number :
       {plan.payload_bytes, plan.flags, static_cast<std::size_t>(plan.op), plan.chunk_bytes}) {
    out.add(number);
  }
  out.add(std::bit_cast<std::uint64_t>(plan.scale));
  out.add(plan.wants_squares ? 1 : 0);
  return out.value();
}

}  // namespace hvd
