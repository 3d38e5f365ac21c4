// Embeddings with sparse gradients.
#include "tests/torch/same_training.h"

namespace hvd {
namespace {

constexpr std::int64_t kWords = 11;

struct Reader : torch::nn::Module {
  Reader() {
    words =
        register_module("words", torch::nn::Embedding(torch::nn::EmbeddingOptions(kWords, 4).sparse(true)));
    out = register_module("out", torch::nn::Linear(4, 3));
    to(torch::kFloat64);
    fill(*this);
  }
  torch::nn::Embedding words{nullptr};
  torch::nn::Linear out{nullptr};
};

torch::Tensor text_of(int step) {
  return (torch::arange(kBatch * 2, torch::kInt64) * (3 + step) + step)
      .remainder(kWords - 2)
      .view({kBatch, 2});
}

using Way = std::function<torch::Tensor(Reader&, const torch::Tensor& text, int rank, int step)>;
torch::Tensor read(Reader& model, const torch::Tensor& text) { return model.out(model.words(text).mean(1)); }

enum class Kind { sgd, adagrad };
void train_reader(int n, const Way& way, bool stays_sparse, int passes = 1, ReduceOp op = Average) {
  for (const Kind kind : {Kind::sgd, Kind::adagrad}) {
    expect_same_training<Reader>(
        n,
        [&](Reader& model, const Side& side) {
          std::unique_ptr<torch::optim::Optimizer> optimizer = sgd_of(model.parameters(), 0);
          if (kind == Kind::adagrad) {
            optimizer = std::make_unique<torch::optim::Adagrad>(model.parameters(),
                                                                torch::optim::AdagradOptions(0.1));
          }
          Trainer trainer(side, std::move(optimizer), model.named_parameters());
          for (int step = 0; step < kSteps; ++step) {
            trainer.zero_grad(/*set_to_none=*/step % 3 != 1);
            for (int pass = 0; pass < passes; ++pass) {
              side.backward([&](int rank) {
                return torch::mse_loss(way(model, side.part(text_of(step + pass), rank), rank, step),
                                       side.part(targets_of(step), rank));
              });
            }
            if (stays_sparse && model.words->weight.grad().defined()) {
              EXPECT_TRUE(model.words->weight.grad().is_sparse()) << "rank of " << side.size();
            }
            trainer.step();
          }
        },
        op);
  }
}

class Sparse : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, Sparse, testing::Values(1, 2, 3));

TEST_P(Sparse, GradientsAreThoseOfOneProcess) {
  const Way way = [](Reader& model, const torch::Tensor& text, int, int) { return read(model, text); };
  train_reader(GetParam(), way, true);
  train_reader(GetParam(), way, true, 3);
  train_reader(GetParam(), way, true, 2, Sum);
}

TEST_P(Sparse, GradientsOfSomeRanksOnly) {
  const int n = GetParam();
  const Way way = [n](Reader& model, const torch::Tensor& text, int rank, int step) {
    if (step == 4 || rank == step % n) return model.out(torch::ones({text.size(0), 4}, torch::kFloat64));
    return read(model, text);
  };
  train_reader(n, way, true);
  train_reader(n, way, true, 2);
}

// The table is also used as a whole, on some ranks: then p.grad is dense on all.
TEST_P(Sparse, GradientsTogetherWithDenseOnes) {
  const int n = GetParam();
  const Way way = [n](Reader& model, const torch::Tensor& text, int rank, int step) {
    auto output = read(model, text);
    if (rank == step % n) output = output + model.words->weight.slice(1, 0, 3).mean(0, true);
    return output;
  };
  train_reader(n, way, false);
  train_reader(n, way, false, 3);
}

TEST(Sparse, RowsAreThoseOfAllRanks) {
  on_ranks(3, [](const ContextPointer& context) {
    Reader model;
    torch::optim::SGD sgd(model.parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, model.named_parameters(), {.op = Sum, .context = context});
    const auto words = context->rank() == 2 ? torch::tensor({4, 4}) : torch::tensor({context->rank(), 7});
    // Row 7 gets +1 and -1: it was touched all the same.
    (model.words(words).sum() * (context->rank() == 1 ? -1.0 : 1.0)).backward();
    const auto gradient = model.words->weight.grad().coalesce();
    EXPECT_TRUE(torch::equal(gradient.indices().view(-1), torch::tensor({0, 1, 4, 7})));
    EXPECT_TRUE(
        torch::equal(gradient.values().select(1, 0), torch::tensor({1.0, -1.0, 2.0, 0.0}, torch::kFloat64)));
    optimizer.step();
  });
}

TEST(Sparse, GradientsOfAStepThatFailsAreDropped) {
  on_ranks(2, [](const ContextPointer& context) {
    Reader model;
    torch::optim::SGD sgd(model.parameters(), 0.1);
    DistributedOptimizer optimizer(sgd, model.named_parameters(), {.context = context});
    for (int step = 0; step < 4; ++step) {
      const auto before = model.words->weight.detach().clone();
      const bool breaks = step == 1 || step == 2;
      optimizer.zero_grad(/*set_to_none=*/step != 2);
      const auto backward = [&] {
        const auto vectors = model.words(part(text_of(step), *context));
        model.out(Fragile::apply(vectors, breaks && context->rank() == 0).mean(1)).square().sum().backward();
      };
      if (breaks) {
        EXPECT_THROW(backward(), std::runtime_error);
      } else {
        backward();
      }
      optimizer.step();
      EXPECT_EQ(torch::equal(before, model.words->weight), breaks);
    }
  });
}

}  // namespace
}  // namespace hvd
