// Gradients that come in several pieces: re-entrant checkpointing, and backwards on several threads.
#include <thread>

#include "tests/torch/same_training.h"

namespace hvd {
namespace {

using Segment = std::function<torch::Tensor(const torch::Tensor&)>;

// Keeps only its input; backward computes the segment again and calls backward() of that inside its own.
struct Checkpointed : torch::autograd::Function<Checkpointed> {
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& input,
                               const Segment* segment) {
    context->save_for_backward({input});
    context->saved_data["segment"] = reinterpret_cast<std::int64_t>(segment);
    return (*segment)(input);
  }
  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* context,
                                               const torch::autograd::tensor_list& gradients) {
    const auto* const segment = reinterpret_cast<const Segment*>(context->saved_data["segment"].toInt());
    const auto input = context->get_saved_variables()[0].detach().requires_grad_();
    const torch::AutoGradMode enabled(true);
    (*segment)(input).backward(gradients[0]);
    return {input.grad(), torch::Tensor()};
  }
};

torch::Tensor checkpointed(const torch::Tensor& input, const Segment& segment) {
  return Checkpointed::apply(input, &segment);
}

class Pieces : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, Pieces, testing::Values(1, 2, 3));

// Layers that two segments share, some that only a segment uses, some that only the outer backward sees.
TEST_P(Pieces, OfCheckpointedSegments) {
  for (const ReduceOp op : {Average, Sum}) {
    for (const int checkpointing_ranks : {1, 3}) {  // one, or all
      expect_same_training<Towers>(
          GetParam(),
          [&](Towers& model, const Side& side) {
            Trainer trainer(side, sgd_of(model.parameters()), model.named_parameters());
            const Segment first = [&](const torch::Tensor& x) {
              return torch::tanh(model.left(torch::tanh(model.below(x)))).repeat({1, 2});
            };
            const Segment second = [&](const torch::Tensor& x) {
              return torch::tanh(model.right(torch::tanh(model.below(x)))).repeat({1, 2});
            };
            for (int step = 0; step < kSteps; ++step) {
              trainer.zero_grad(/*set_to_none=*/step % 2 == 0);
              for (int pass = 0; pass < 2; ++pass) {
                side.backward([&](int rank) {
                  const auto inputs = side.part(inputs_of(step + pass), rank).requires_grad_();
                  const bool checkpoints = !side.is_alone() && rank < checkpointing_ranks;
                  const auto run = [&](const torch::Tensor& x, const Segment& segment) {
                    return checkpoints ? checkpointed(x, segment) : segment(x);
                  };
                  const auto output = run(run(inputs, first), second).slice(1, 0, 3);
                  const auto skipped = model.left(torch::tanh(model.below(inputs)));
                  return torch::mse_loss(step % 2 == 0 ? output + skipped : output,
                                         side.part(targets_of(step), rank));
                });
              }
              trainer.step();
            }
          },
          op);
    }
  }
}

// The outer backward has no gradient of the model itself, and its end is still the end of the round.
TEST_P(Pieces, OfAWholeModelInACheckpoint) {
  expect_same_training<Towers>(GetParam(), [](Towers& model, const Side& side) {
    Trainer trainer(side, sgd_of(model.parameters()), model.named_parameters());
    const Segment whole = [&](const torch::Tensor& x) { return model.left(model.hidden(x)); };
    for (int step = 0; step < kSteps; ++step) {
      trainer.zero_grad();
      side.backward([&](int rank) {
        const auto inputs = side.part(inputs_of(step), rank).requires_grad_();
        const auto output = side.is_alone() ? whole(inputs) : checkpointed(inputs, whole);
        return torch::mse_loss(output, side.part(targets_of(step), rank));
      });
      torch::nn::utils::clip_grad_norm_(model.parameters(), 0.1);  // sees averages
      trainer.step();
    }
  });
}

TEST(Checkpoint, ThatThrowsDropsTheStepOnAllRanks) {
  for (const bool inside : {true, false}) {
    on_ranks(2, [&](const ContextPointer& context) {
      Towers model;
      torch::optim::SGD sgd(model.parameters(), 0.1);
      DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
      bool breaks = false;
      const Segment segment = [&](const torch::Tensor& x) {
        return model.left(Fragile::apply(model.hidden(x), inside && breaks));
      };
      for (int step = 0; step < 4; ++step) {
        const auto before = model.left->weight.detach().clone();
        breaks = step == 1 && context->rank() == 0;
        optimizer.zero_grad();
        const auto inputs = part(inputs_of(step), *context).requires_grad_();
        const auto backward = [&] {
          checkpointed(Fragile::apply(inputs.clone(), !inside && breaks), segment).square().mean().backward();
        };
        if (step == 1 && context->rank() == 1) {
          EXPECT_THROW(backward(), StepDiscarded);
        } else if (step == 1) {
          EXPECT_THROW(backward(), std::runtime_error);
        } else {
          backward();
        }
        optimizer.step();
        EXPECT_EQ(torch::equal(model.left->weight, before), step == 1);
        EXPECT_TRUE(
            torch::equal(allreduce(model.left->weight, {.op = Max, .context = context}), model.left->weight))
            << "ranks differ";
      }
    });
  }
}

constexpr int kThreads = 4;

// Runs `body(thread)` on four threads; the first exception is thrown again.
void on_threads(const std::function<void(int)>& body) {
  std::vector<std::exception_ptr> failures(kThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      try {
        body(i);
      } catch (...) {
        failures[static_cast<std::size_t>(i)] = std::current_exception();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

torch::Tensor thread_loss(Towers& model, const Side& side, int rank, int step, int thread) {
  const auto all = numbers({kBatch * kThreads, 6}, step);
  const auto mine = side.part(all, rank);
  const auto each = mine.size(0) / kThreads;
  const auto hidden = model.hidden(mine.slice(0, each * thread, each * (thread + 1)));
  // Not every thread uses every layer.
  return (thread % 2 == 0 ? model.left(hidden) : model.right(hidden) * model.left(hidden)).square().mean();
}

TEST_P(Pieces, OfBackwardsOnFourThreads) {
  for (const ReduceOp op : {Average, Sum}) {
    expect_same_training<Towers>(
        GetParam(),
        [](Towers& model, const Side& side) {
          Trainer trainer(side, sgd_of(model.parameters()), model.named_parameters());
          for (int step = 0; step < 2 * kSteps; ++step) {
            trainer.zero_grad(/*set_to_none=*/step % 2 == 0);
            if (side.is_alone()) {
              for (int thread = 0; thread < kThreads; ++thread) {
                side.backward([&](int rank) { return thread_loss(model, side, rank, step, thread) * 0.3; });
              }
            } else {
              on_threads([&](int thread) {
                (thread_loss(model, side, side.rank(), step, thread) * 0.3).backward();
              });
            }
            trainer.step();
          }
        },
        op);
  }
}

TEST(Threads, OneOfWhichThrowsDropTheStepOnAllRanks) {
  on_ranks(2, [](const ContextPointer& context) {
    Towers model;
    const Side side(2, context);
    torch::optim::SGD sgd(model.parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
    for (int step = 0; step < 8; ++step) {
      const bool breaks = step % 2 == 1;
      const auto before = model.left->weight.detach().clone();
      optimizer.zero_grad(/*set_to_none=*/step % 4 < 2);
      const auto backwards = [&] {
        on_threads([&](int thread) {
          auto loss = thread_loss(model, side, context->rank(), step, thread);
          if (breaks && thread == step / 2 && context->rank() == 0) {
            const auto hidden = model.hidden(part(inputs_of(step), *context));
            loss = model.left(Fragile::apply(hidden, true)).sum();
          }
          loss.backward();
        });
      };
      if (!breaks) {
        backwards();
      } else if (context->rank() == 0) {
        EXPECT_THROW(backwards(), std::runtime_error);
      } else {
        EXPECT_THROW(backwards(), StepDiscarded);
      }
      optimizer.step();
      EXPECT_EQ(torch::equal(model.left->weight, before), breaks) << "step " << step;
      EXPECT_TRUE(
          torch::equal(allreduce(model.left->weight, {.op = Max, .context = context}), model.left->weight))
          << "ranks differ";
    }
  });
}

}  // namespace
}  // namespace hvd
