#include "bindings/torch/bucket_plan.h"

#include <algorithm>

namespace hvd {
namespace {

struct OpenBucket {
  int kind;
  std::size_t bytes;
  std::size_t bucket;
};

// Appends to `buckets`. A limit of 0: none.
void pack(std::span<const BucketItem> items, const std::vector<std::size_t>& indices, std::size_t limit_bytes,
          IndexGroups& buckets) {
  std::vector<OpenBucket> open;  // the latest of each kind
  for (const std::size_t index : indices) {
    const BucketItem& item = items[index];
    auto like = std::find_if(open.begin(), open.end(), [&](const auto& o) { return o.kind == item.kind; });
    if (like == open.end()) like = open.insert(open.end(), {item.kind, 0, buckets.size()});
    const bool is_new = like->bucket == buckets.size();
    if (is_new || (limit_bytes > 0 && like->bytes + item.bytes > limit_bytes)) {
      *like = {item.kind, 0, buckets.size()};
      buckets.emplace_back();
    }
    buckets[like->bucket].push_back(index);
    like->bytes += item.bytes;
  }
}

}  // namespace

IndexGroups split_evenly(std::size_t parameters, std::size_t groups) {
  IndexGroups out(std::min(groups, parameters));
  std::size_t next = parameters;
  for (std::size_t group = 0; group < out.size(); ++group) {
    const std::size_t count = parameters / out.size() + (group < parameters % out.size() ? 1 : 0);
    for (std::size_t i = 0; i < count; ++i) out[group].push_back(--next);
  }
  return out;
}

IndexGroups plan_buckets(std::span<const BucketItem> items, const IndexGroups& groups,
                         std::size_t bucket_bytes) {
  IndexGroups buckets;
  std::vector<bool> is_grouped(items.size());
  for (const auto& group : groups) {
    for (const std::size_t index : group) is_grouped[index] = true;
    pack(items, group, 0, buckets);
  }
  std::vector<std::size_t> rest;
  for (std::size_t i = items.size(); i-- > 0;) {
    if (!is_grouped[i]) rest.push_back(i);
  }
  pack(items, rest, std::max<std::size_t>(bucket_bytes, 1), buckets);
  const auto highest = [](const auto& bucket) { return *std::max_element(bucket.begin(), bucket.end()); };
  std::sort(buckets.begin(), buckets.end(),
            [&](const auto& a, const auto& b) { return highest(a) > highest(b); });
  return buckets;
}

}  // namespace hvd
