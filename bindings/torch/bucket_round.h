// BucketRound: the gradients of one round, on their way through a communication hook.
//
// Every rank starts every bucket of a round, in the order of the plan, so a hook may wait inside: during backward as buckets become complete,
// the rest at its end. A rank that cannot go on gives up: under the names of the operations that it has not started (there are at most
// kMaxOperations a bucket) it submits a barrier, which no hook can start. So these end as a mismatch on the ranks that have started them,
// whose hooks fail and give up too; or, where all gave up, as a barrier.
// Not thread-safe: the exchange's mutex covers it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bindings/torch/bucket_plan.h"
#include "bindings/torch/named_parameter.h"
#include "horovod_cpp/torch/communication_hook.h"
#include "horovod_cpp/work.h"

namespace hvd {

class BucketRound {
 public:
  struct Parts {
    std::shared_ptr<Context> context;
    CommunicationHook hook;
    BucketCollective::Options reduction;
    std::vector<NamedParameter> parameters;
    // What this rank contributes to gradient i: dense, of the parameter's shape; undefined: zeros.
    std::function<at::Tensor(std::size_t)> value_of;
    IndexGroups groups;
    std::size_t bucket_bytes = 0;
    std::string suffix;  // of the names of operations
  };
  explicit BucketRound(Parts parts);

  // The value of gradient `index` is complete. Starts the buckets whose turn it is. Throws what the hook throws, or StepDiscarded.
  void arrive(std::size_t index);
  // Whether the gradient is on its way: what is added to it now would be lost.
  bool has_started(std::size_t index) const;
  // The end of a round that goes well. First: starts the rest, with values as they are. Throws as arrive().
  void start_rest();
  // Second: true when everything that this rank has started, also by giving up, has ended, whatever the outcome; false if the deadline
  // passed. The other ranks finish or give up, too.
  bool wait_until(Deadline deadline) const;
  // Third: takes the results. Throws what a then() throws, StepDiscarded, or what is wrong with a result.
  void finish();
  // Then: what became of gradient `index`. Memory of the bucket: copy it.
  at::Tensor result_of(std::size_t index) const;

  // This rank will start nothing more in this round. Never throws for a failed world.
  void give_up();
  // The next round may begin.
  void end();

 private:
  struct Bucket {
    std::vector<std::size_t> members;
    std::vector<std::int64_t> begins;  // of the members' values
    std::size_t missing = 0;           // members that have not arrived in this round
    GradientBucket shown;
    BucketCollective collective;
    std::vector<PendingTensor> pending;  // none or one
    at::Tensor result;
  };

  Bucket make_bucket(std::vector<std::size_t> members, std::size_t index, bool is_last) const;
  at::Tensor slice(const Bucket& bucket, const at::Tensor& flat, std::size_t member) const;
  void start_next();
  void check(const Bucket& bucket, const at::Tensor& result) const;

  Parts parts_;
  std::vector<Bucket> buckets_;
  std::vector<std::size_t> bucket_of_;  // [parameter]
  std::vector<std::size_t> place_of_;   // [parameter] in its bucket
  std::vector<bool> has_arrived_;       // [parameter], in this round
  std::size_t next_ = 0;                // bucket to start
  std::vector<Work> given_up_;
};

}  // namespace hvd
