// What GradientExchange is told by DistributedOptimizer, checked already.
#pragma once

#include <vector>

#include "bindings/torch/bucket_plan.h"
#include "bindings/torch/model_agreement.h"
#include "horovod_cpp/torch/communication_hook.h"

namespace hvd {

struct ExchangeOptions {
  BucketCollective::Options reduction;  // op average or sum
  // The result is divided by more than the number of ranks: there is something to do on one rank, too.
  bool has_divisor = false;
  int passes_per_round = 1;  // see accumulation.h
  IndexGroups groups;        // see gradient_groups.h
  CommunicationHook hook;    // may be empty
  std::size_t bucket_bytes = 0;
  bool wants_norm = false;        // GradientExchange::norm_of_step()
  std::vector<OptionFact> facts;  // what ranks must have in common
};

}  // namespace hvd
