// StepOverlap of DistributedOptimizer.
#include "tests/torch/models.h"

namespace hvd {
namespace {

// What backward hides is measured in both states; a rank alone has nothing to hide.
TEST(StepOverlap, TellsWhatBackwardHides) {
  for (const bool static_plan : {false, true}) {
    Config config = test_config();
    config.static_plan = static_plan;
    for (const int size : {1, 2}) {
      on_ranks(
          size,
          [](const ContextPointer& context) {
            auto network = make_network();
            torch::optim::SGD sgd(network->parameters(), 0.1);
            DistributedOptimizer optimizer(sgd, network->named_parameters(), {.context = context});
            EXPECT_EQ(optimizer.last_overlap().exposed.count(), 0);
            for (int step = 0; step < 5; ++step) {
              optimizer.zero_grad();
              loss_of(network, part(inputs_of(step), *context), part(targets_of(step), *context)).backward();
              optimizer.step();
              const StepOverlap overlap = optimizer.last_overlap();
              EXPECT_EQ(overlap.exposed.count() > 0, context->size() > 1) << "step " << step;
              EXPECT_GE(overlap.hidden.count(), 0);
              EXPECT_LE(overlap.hidden_share(), 1.0);
              optimizer.zero_grad();
              EXPECT_EQ(optimizer.last_overlap().exposed, overlap.exposed);
            }
          },
          true, InprocWorld::Backend::shm, config);
    }
  }
}

}  // namespace
}  // namespace hvd
