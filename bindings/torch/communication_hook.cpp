#include "horovod_cpp/torch/communication_hook.h"

#include "bindings/torch/tensor_facts.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/session.h"
#include "horovod_cpp/torch/errors.h"

namespace hvd {

PendingTensor::PendingTensor(std::function<at::Tensor()> wait) : wait_(std::move(wait)) {}
PendingTensor::PendingTensor(at::Tensor ready) : wait_([ready = std::move(ready)] { return ready; }) {}
PendingTensor::PendingTensor(Handle handle)
    : wait_([handle = std::move(handle)]() mutable { return handle.wait(); }) {}

PendingTensor PendingTensor::then(std::function<at::Tensor(const at::Tensor&)> next) const {
  return PendingTensor([wait = wait_, next = std::move(next)] { return next(wait()); });
}

at::Tensor PendingTensor::wait() const { return wait_(); }

BucketCollective::BucketCollective(std::shared_ptr<Context> context, Options options, std::string name)
    : context_(std::move(context)), options_(options), name_(std::move(name)) {}

int BucketCollective::rank() const { return context_->rank(); }
int BucketCollective::size() const { return context_->size(); }

bool BucketCollective::crosses_wire(c10::Device device) const {
  return context_->session().crosses_wire(value_or_throw(device_id_of(device)).type);
}

std::string BucketCollective::name_of_operation(int number) const {
  return text(name_, " operation ", number);
}

std::string BucketCollective::next_name() const {
  if (started_.size() == kMaxOperations) {
    throw std::invalid_argument(text("rank ", rank(), ", ", name_, ": a communication hook may start ",
                                     kMaxOperations,
                                     " operations a bucket, and this is one more: pack tensors into one"));
  }
  return name_of_operation(static_cast<int>(started_.size()));
}

Handle BucketCollective::remember(Handle handle) {
  started_.push_back(handle);
  return handle;
}

Handle BucketCollective::allreduce_(const at::Tensor& tensor, const Options& options) {
  return remember(allreduce_async_(tensor, {.name = next_name(),
                                            .op = options.op,
                                            .prescale = options.prescale,
                                            .postscale = options.postscale,
                                            .context = context_}));
}

Handle BucketCollective::broadcast_(const at::Tensor& tensor, int root) {
  return remember(broadcast_async_(tensor, root, {.name = next_name(), .context = context_}));
}

}  // namespace hvd
