// The options of DistributedOptimizer: what is wrong with them, and what they mean to the exchange.
#pragma once

#include <vector>

#include "bindings/torch/exchange_options.h"
#include "bindings/torch/named_parameter.h"
#include "horovod_cpp/torch/distributed_optimizer.h"

namespace hvd {

// Throws std::invalid_argument that names option, expected and got. `options.context` is set.
ExchangeOptions exchange_options_of(const DistributedOptimizerOptions& options,
                                    const std::vector<NamedParameter>& parameters);

}  // namespace hvd
