// EpochPlan: what all ranks reduce in each epoch, and where it lies in the memory that they share. A value.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "horovod_cpp/base/caches.h"
#include "horovod_cpp/base/types.h"

namespace hvd {

// Published as a whole, when all of its contents are there. `begin_bytes` is a multiple of 64, counted from the beginning of the payload.
struct EpochBucket {
  std::size_t begin_bytes = 0;
  std::size_t count = 0;  // elements
  DataType dtype = DataType::float32;
  // Flags are bytes that travel with buckets and are combined by "or": which of its parts a rank has used.
  std::size_t first_flag = 0;
  std::size_t flag_count = 0;
};

struct EpochPlan {
  std::vector<EpochBucket> buckets;  // the order in which they are expected; they do not overlap
  std::size_t payload_bytes = 0;
  std::size_t flags = 0;
  ReduceOp op = ReduceOp::sum;  // of all of them; never average
  double scale = 1.0;
  bool wants_squares = false;  // Epochs::sum_of_squares()
  // A bucket is reduced in chunks of this size, by whoever has time. A power of two, at least 64 bytes.
  std::size_t chunk_bytes = std::size_t{128} << 10U;
  // For people: the names of what each bucket holds. May be shorter than `buckets`; ranks need not agree on it.
  std::vector<std::vector<std::string>> contents = {};
};

// Where the parts of one rank's memory lie. The same on all ranks.
struct EpochLayout {
  static constexpr std::size_t kPageBytes = 4096;
  explicit EpochLayout(const EpochPlan& plan);

  std::vector<std::size_t> first_chunk;  // [bucket], counted over all buckets; one more at the end
  std::size_t ready = 0;                 // words [bucket]
  std::size_t claim = 0;                 // words [bucket], of member 0 only
  std::size_t done = 0;                  // the same
  std::size_t squares = 0;               // doubles [chunk], of member 0 only
  std::size_t own_flags = 0;             // bytes [flag]
  std::size_t combined_flags = 0;        // the same
  std::size_t payload = 0;               // starts a page
  std::size_t total_bytes = 0;

  std::size_t chunks_of(std::size_t bucket) const { return first_chunk[bucket + 1] - first_chunk[bucket]; }
};

// Chunks that stay in a core's second cache with what is read and written beside them, and are many enough to be shared out.
std::size_t fitted_chunk_bytes(const Caches& caches);

// The same number for the same plan, another for another one, but for chance. Positive.
std::int64_t fingerprint_of(const EpochPlan& plan);

}  // namespace hvd
