// How the steady state of a DistributedOptimizer ends when a rank goes, or does not come.
#include "tests/torch/models.h"

namespace hvd {
namespace {

Config with_plan() {
  Config config = test_config();
  config.static_plan = true;
  return config;
}

// Ranks other than `which` are told why they wait in vain.
void expect_told(const std::function<void()>& call, const std::string& words) {
  try {
    call();
    FAIL() << "nothing was thrown";
  } catch (const WorldError& error) {
    EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
  }
}

TEST(SteadyStates, ARankThatDestroysItsOptimizerIsNamed) {
  on_ranks(
      3,
      [](const ContextPointer& context) {
        auto network = make_network();
        torch::optim::SGD sgd(network->parameters(), 0.1);
        std::optional<DistributedOptimizer> optimizer;
        optimizer.emplace(sgd, network->named_parameters(), DistributedOptimizerOptions{.context = context});
        const auto backward = [&] { loss_of(network, inputs_of(0), targets_of(0)).backward(); };
        for (int step = 0; step < 3; ++step) {
          optimizer->zero_grad();
          backward();
          optimizer->step();
        }
        if (context->rank() == 2) {
          optimizer.reset();
          backward();
          return;
        }
        optimizer->zero_grad();
        expect_told(backward, "rank 2 has destroyed its DistributedOptimizer");
        for (const auto& parameter : network->parameters()) {
          if (parameter.grad().defined()) {
            EXPECT_EQ(parameter.grad().abs().sum().item<double>(), 0.0);
          }
        }
      },
      true, InprocWorld::Backend::shm, with_plan());
}

TEST(SteadyStates, ARankThatShutsDownIsNamed) {
  on_ranks(
      3,
      [](const ContextPointer& context) {
        auto network = make_network();
        torch::optim::SGD sgd(network->parameters(), 0.1);
        DistributedOptimizer optimizer(sgd, network->named_parameters(), {.context = context});
        const auto backward = [&] { loss_of(network, inputs_of(0), targets_of(0)).backward(); };
        for (int step = 0; step < 3; ++step) {
          optimizer.zero_grad();
          backward();
          optimizer.step();
        }
        if (context->rank() != 1) {
          expect_told(backward, "rank 1 has shut down");
        }
        EXPECT_TRUE(context->session().shutdown(Deadline::after(kTestDeadline)).is_ok());
      },
      true, InprocWorld::Backend::shm, with_plan());
}

TEST(SteadyStates, ARankThatStaysAwayIsReportedAndEndsTheJobIfAsked) {
  Config config = with_plan();
  config.stall_warning = std::chrono::seconds(1);
  config.stall_shutdown = std::chrono::seconds(2);
  testing::internal::CaptureStderr();
  on_ranks(
      2,
      [](const ContextPointer& context) {
        auto network = make_network();
        torch::optim::SGD sgd(network->parameters(), 0.1);
        DistributedOptimizer optimizer(sgd, network->named_parameters(), {.context = context});
        const auto backward = [&] { loss_of(network, inputs_of(0), targets_of(0)).backward(); };
        for (int step = 0; step < 3; ++step) {
          optimizer.zero_grad();
          backward();
        }
        if (context->rank() == 0)
          expect_told(backward, "rank 1, which still has to produce 4 of 4 gradients");
        while (context->session().status().is_ok()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      },
      /*ends_well=*/false, InprocWorld::Backend::shm, config);
  const std::string output = testing::internal::GetCapturedStderr();
  EXPECT_NE(output.find("at the end of a backward (optimizer 0) for rank 1"), std::string::npos) << output;
}

}  // namespace
}  // namespace hvd
