// hvd::State on one rank: what it keeps, and what it gives back.
#include <gtest/gtest.h>
#include <horovod_cpp/torch/context.h>
#include <horovod_cpp/torch/elastic.h>
#include <horovod_cpp/torch/errors.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/adamw.h>

#include <ATen/ops/ones.h>
#include <stdexcept>
#include <vector>

namespace hvd {
namespace {

struct Training {
  torch::nn::Sequential network{torch::nn::Linear(3, 4), torch::nn::BatchNorm1d(4)};
  torch::optim::AdamW optimizer{network->parameters(), torch::optim::AdamWOptions(0.1)};
  std::int64_t step = 0;
  double best = 1.5;
  at::Tensor order = at::ones({4}, c10::ScalarType::Long);

  void train() {
    optimizer.zero_grad();
    network->forward(at::ones({5, 3}) * static_cast<double>(step + 1)).pow(2).sum().backward();
    optimizer.step();
    ++step;
    best /= 2;
    order += 1;
  }
  std::vector<at::Tensor> tensors() const {
    std::vector<at::Tensor> all;
    for (const auto& parameter : network->parameters()) all.push_back(parameter.detach().clone());
    for (const auto& buffer : network->buffers()) all.push_back(buffer.clone());
    all.push_back(order.clone());
    return all;
  }
};

void expect_equal(const std::vector<at::Tensor>& left, const std::vector<at::Tensor>& right) {
  ASSERT_EQ(left.size(), right.size());
  for (std::size_t i = 0; i < left.size(); ++i) EXPECT_TRUE(left[i].equal(right[i])) << "tensor " << i;
}

class StateOfATraining : public testing::Test {
 protected:
  StateOfATraining() {
    init();
    state_.track("step", training_.step);
    state_.track("best", training_.best);
    state_.track("order", training_.order);
  }
  void TearDown() override { shutdown(); }

  Training training_;
  State state_{*training_.network, training_.optimizer};
};

TEST_F(StateOfATraining, GoesBackToTheLastCommit) {
  for (int i = 0; i < 3; ++i) training_.train();
  state_.commit();
  const auto committed = training_.tensors();
  training_.train();
  const auto one_further = training_.tensors();
  for (int i = 0; i < 2; ++i) {  // as often as it takes
    training_.train();
    state_.restore();
    expect_equal(training_.tensors(), committed);
    EXPECT_EQ(training_.step, 3);
    EXPECT_EQ(training_.best, 1.5 / 8);
    for (const auto& parameter : training_.network->parameters()) EXPECT_FALSE(parameter.grad().defined());
    training_.train();  // momenta and step counts are those of the commit too
    expect_equal(training_.tensors(), one_further);
  }
}

TEST_F(StateOfATraining, SyncIsACommit) {
  EXPECT_THROW(state_.restore(), std::logic_error);
  state_.sync();
  const auto committed = training_.tensors();
  training_.train();
  state_.restore();
  expect_equal(training_.tensors(), committed);
  EXPECT_EQ(training_.step, 0);
}

TEST_F(StateOfATraining, ANameIsTrackedOnce) {
  std::int64_t other = 0;
  EXPECT_THROW(state_.track("step", other), std::invalid_argument);
}

TEST_F(StateOfATraining, OtherExceptionsPassThrough) {
  EXPECT_THROW(run_elastic(state_, [] { throw std::runtime_error("the program's own"); }),
               std::runtime_error);
  int runs = 0;
  run_elastic(state_, [&] { ++runs; });
  EXPECT_EQ(runs, 1);
}

TEST(Survivors, MeetUnderHvdrunOnly) {
  init();
  EXPECT_THROW(meet_survivors(), UnavailableError);
  EXPECT_FALSE(is_initialized());
}

}  // namespace
}  // namespace hvd
