// 16-bit gradients on the wire: half the bytes of float32.
//
//   hvd::DistributedOptimizer optimizer(sgd, model->named_parameters(), {.compression = hvd::Compression::bf16});
//
// Compression applies to what crosses a wire. Between ranks of one host, that reduce in shared memory, there is nothing to save, and the
// option does nothing: gradients stay as they are and are reduced where they lie.
// Only float32 and float64 gradients are cast; others go as they are. p.grad keeps its type.
// fp16 has 11 significant bits and ends at 65504: sums of many ranks can overflow. Then pass gradient_predivide_factor (the number of ranks
// is always safe), which is applied before the cast. bf16 has the range of float32 and 8 significant bits.
#pragma once

#include <cstdint>

#include "horovod_cpp/torch/communication_hook.h"

namespace hvd {

enum class Compression : std::uint8_t { none = 0, fp16 = 1, bf16 = 2 };

// The hooks behind the option. As option communication_hook they cast always, wire or not.
PendingTensor fp16_compression(GradientBucket& bucket, BucketCollective& collective);
PendingTensor bf16_compression(GradientBucket& bucket, BucketCollective& collective);

}  // namespace hvd
