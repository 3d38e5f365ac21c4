// Data-parallel training for LibTorch. Three lines change in a training program:
//
//   hvd::init();                                                          // first thing in main
//   hvd::broadcast_parameters(*model);                                    // same start everywhere
//   hvd::DistributedOptimizer optimizer(sgd, model->named_parameters());  // then optimizer.zero_grad(),
//                                                                         // .step() as before
//
// and each rank trains on its own part of the data: see examples/digits.cpp in the source tree. Programs include <torch/torch.h>
// themselves: from LibTorch this header has only what it needs.
#pragma once

#include "horovod_cpp/torch/collectives.h"
#include "horovod_cpp/torch/communication_hook.h"
#include "horovod_cpp/torch/compression.h"
#include "horovod_cpp/torch/context.h"
#include "horovod_cpp/torch/distributed_optimizer.h"
#include "horovod_cpp/torch/elastic.h"
#include "horovod_cpp/torch/errors.h"
#include "horovod_cpp/torch/optimizer_state.h"
#include "horovod_cpp/torch/parameters.h"
#include "horovod_cpp/torch/process_set.h"
#include "horovod_cpp/torch/sharded_optimizer.h"
