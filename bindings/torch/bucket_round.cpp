#include "bindings/torch/bucket_round.h"

#include <ATen/ops/empty.h>

#include <string_view>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/session.h"
#include "horovod_cpp/torch/errors.h"

namespace hvd {
namespace {

constexpr OpKind kGivenUp = OpKind::barrier;

// Runs what may find out that another rank has given up.
template <class Body>
void told_as_discarded(int rank, Body&& body) {
  try {
    body();
  } catch (const MismatchError& error) {
    if (std::string_view(error.what()).find(name_of(kGivenUp)) == std::string_view::npos) throw;
    throw StepDiscarded(Status::aborted(
        text("rank ", rank,
             ": backward or the communication hook threw on another rank, so this step is dropped on all "
             "ranks. The cause is in the output of that rank; training can go on with the next step.")));
  }
}

int kind_of(const at::Tensor& tensor) {
  const c10::Device device = tensor.device();
  return (static_cast<int>(tensor.scalar_type()) * 256 + static_cast<int>(device.type())) * 256 +
         device.index() + 1;
}

}  // namespace

BucketRound::BucketRound(Parts parts)
    : parts_(std::move(parts)),
      bucket_of_(parts_.parameters.size()),
      place_of_(parts_.parameters.size()),
      has_arrived_(parts_.parameters.size()) {
  std::vector<BucketItem> items;
  for (const NamedParameter& parameter : parts_.parameters) {
    const at::Tensor& tensor = parameter.tensor;
    items.push_back({static_cast<std::size_t>(tensor.numel()) * tensor.element_size(), kind_of(tensor)});
  }
  IndexGroups plan = plan_buckets(items, parts_.groups, parts_.bucket_bytes);
  for (std::size_t b = 0; b < plan.size(); ++b) {
    for (std::size_t i = 0; i < plan[b].size(); ++i) {
      bucket_of_[plan[b][i]] = b;
      place_of_[plan[b][i]] = i;
    }
    buckets_.push_back(make_bucket(std::move(plan[b]), b, b + 1 == plan.size()));
  }
}

BucketRound::Bucket BucketRound::make_bucket(std::vector<std::size_t> members, std::size_t index,
                                             bool is_last) const {
  GradientBucket shown;
  shown.index = index;
  shown.is_last = is_last;
  std::vector<std::int64_t> begins;
  std::int64_t count = 0;
  for (const std::size_t member : members) {
    begins.push_back(count);
    count += parts_.parameters[member].tensor.numel();
    shown.names.push_back(parts_.parameters[member].name);
  }
  const at::Tensor& like = parts_.parameters[members.front()].tensor;
  shown.values = at::empty({count}, at::TensorOptions(like.device()).dtype(like.scalar_type()));
  const std::size_t missing = members.size();
  return {std::move(members),
          std::move(begins),
          missing,
          std::move(shown),
          BucketCollective(parts_.context, parts_.reduction, text("bucket ", index, parts_.suffix)),
          {},
          {}};
}

at::Tensor BucketRound::slice(const Bucket& bucket, const at::Tensor& flat, std::size_t member) const {
  const at::Tensor& parameter = parts_.parameters[bucket.members[member]].tensor;
  return flat.narrow(0, bucket.begins[member], parameter.numel()).view(parameter.sizes());
}

void BucketRound::arrive(std::size_t index) {
  if (has_arrived_[index]) return;
  has_arrived_[index] = true;
  --buckets_[bucket_of_[index]].missing;
  while (next_ < buckets_.size() && buckets_[next_].missing == 0) start_next();
}

bool BucketRound::has_started(std::size_t index) const { return bucket_of_[index] < next_; }

void BucketRound::start_next() {
  Bucket& bucket = buckets_[next_++];
  GradientBucket& shown = bucket.shown;
  for (std::size_t i = 0; i < bucket.members.size(); ++i) {
    const at::Tensor value = parts_.value_of(bucket.members[i]);
    const at::Tensor place = slice(bucket, shown.values, i);
    if (value.defined()) {
      place.copy_(value);
    } else {
      place.zero_();
    }
  }
  // The hook may do to this object what it likes, but not to its memory's place.
  GradientBucket given = shown;
  told_as_discarded(parts_.context->rank(),
                    [&] { bucket.pending.push_back(parts_.hook(given, bucket.collective)); });
}

void BucketRound::start_rest() {
  while (next_ < buckets_.size()) start_next();
}

bool BucketRound::wait_until(Deadline deadline) const {
  for (const Bucket& bucket : buckets_) {
    for (const Handle& handle : bucket.collective.started_) {
      if (!handle.wait_until(deadline)) return false;
    }
  }
  for (const Work& work : given_up_) {
    static_cast<void>(work.wait(deadline));
    if (!work.done()) return false;
  }
  return true;
}

void BucketRound::finish() {
  told_as_discarded(parts_.context->rank(), [this] {
    for (Bucket& bucket : buckets_) {
      const at::Tensor result = bucket.pending.front().wait();
      check(bucket, result);
      bucket.result = result.detach().reshape({-1});
    }
  });
}

void BucketRound::check(const Bucket& bucket, const at::Tensor& result) const {
  const at::Tensor& expected = bucket.shown.values;
  const auto words = [](const at::Tensor& t) {
    return t.defined()
               ? text(t.numel(), " elements of ", c10::toString(t.scalar_type()), " on ", t.device().str())
               : std::string("an undefined tensor");
  };
  if (result.defined() && result.layout() == c10::kStrided && result.numel() == expected.numel() &&
      result.scalar_type() == expected.scalar_type() && result.device() == expected.device()) {
    return;
  }
  throw std::invalid_argument(text("rank ", parts_.context->rank(), ", communication hook, bucket ",
                                   bucket.shown.index, " (from '", bucket.shown.names.front(),
                                   "'): expected a result of ", words(expected), ", got ", words(result),
                                   ": cast it back and keep its length"));
}

void BucketRound::give_up() {
  for (Bucket& bucket : buckets_) {
    for (auto slot = static_cast<int>(bucket.collective.started_.size());
         slot < BucketCollective::kMaxOperations; ++slot) {
      Declaration declaration;
      declaration.name = bucket.collective.name_of_operation(slot);
      declaration.kind = kGivenUp;
      declaration.process_set = parts_.context->process_set();
      Session& session = parts_.context->session();
      const Result<TensorId> id = session.declare(declaration);
      if (!id.is_ok()) continue;  // this rank has given up before
      Submission submission;
      submission.id = id.value();
      given_up_.push_back(session.submit(std::move(submission)));
    }
  }
  next_ = buckets_.size();
}

at::Tensor BucketRound::result_of(std::size_t index) const {
  const Bucket& bucket = buckets_[bucket_of_[index]];
  return slice(bucket, bucket.result, place_of_[index]);
}

void BucketRound::end() {
  for (Bucket& bucket : buckets_) {
    bucket.missing = bucket.members.size();
    bucket.pending.clear();
    bucket.collective.started_.clear();
    bucket.result.reset();
  }
  has_arrived_.assign(has_arrived_.size(), false);
  given_up_.clear();
  next_ = 0;
}

}  // namespace hvd
