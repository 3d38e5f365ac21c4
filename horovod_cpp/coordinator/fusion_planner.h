// Fusion planner: puts operations that can travel together into batches. Pure, and the same on every rank.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "horovod_cpp/coordinator/agreement.h"

namespace hvd {

// Indices into the agreements, in their order.
using Batch = std::vector<std::size_t>;

// Batches of like operations (kind, dtype, device, reduction, scale, root, process set) of at most threshold_bytes together; a larger one is
// alone, and so is what is neither allreduce nor broadcast. Agreements that carry an error are in no batch. Batches are ordered by their first member.
std::vector<Batch> plan_fusion(std::span<const Agreement> agreements, std::size_t threshold_bytes);

}  // namespace hvd
