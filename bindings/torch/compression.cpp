#include "horovod_cpp/torch/compression.h"

namespace hvd {
namespace {

PendingTensor reduce_as(c10::ScalarType wire_type, GradientBucket& bucket, BucketCollective& collective) {
  const c10::ScalarType type = bucket.values.scalar_type();
  if (type != c10::ScalarType::Float && type != c10::ScalarType::Double) {
    return collective.allreduce_(bucket.values);
  }
  BucketCollective::Options options = collective.options();
  // Before the cast: what is divided later has overflowed by then.
  if (options.prescale != 1.0) bucket.values.mul_(options.prescale);
  options.prescale = 1.0;
  const Handle reduced = collective.allreduce_(bucket.values.to(wire_type), options);
  return PendingTensor(reduced).then([type](const at::Tensor& sum) { return sum.to(type); });
}

}  // namespace

PendingTensor fp16_compression(GradientBucket& bucket, BucketCollective& collective) {
  return reduce_as(c10::ScalarType::Half, bucket, collective);
}

PendingTensor bf16_compression(GradientBucket& bucket, BucketCollective& collective) {
  return reduce_as(c10::ScalarType::BFloat16, bucket, collective);
}

}  // namespace hvd
