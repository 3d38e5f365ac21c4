// Which gradients travel together: pure functions, with the same result on every rank.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace hvd {

// Indices of parameters; no index is in two groups.
using IndexGroups = std::vector<std::vector<std::size_t>>;

// `parameters` indices in `groups` runs of equal length (the first ones may have one more), from the last parameter to the first.
IndexGroups split_evenly(std::size_t parameters, std::size_t groups);

struct BucketItem {
  std::size_t bytes = 0;
  int kind = 0;  // gradients of different kinds (type, device) never share a bucket
};

// All indices of `items`, in buckets ordered by the highest index in them, the highest first. Each group is a bucket, or one a kind; the
// rest is packed from the last to the first, a bucket being closed before it would exceed bucket_bytes.
IndexGroups plan_buckets(std::span<const BucketItem> items, const IndexGroups& groups,
                         std::size_t bucket_bytes);

}  // namespace hvd
