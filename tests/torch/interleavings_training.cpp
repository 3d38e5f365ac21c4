#include "tests/torch/interleavings_training.h"

#include <stdexcept>

#include "horovod_cpp/base/text.h"

namespace hvd {
// Not in the anonymous namespace: Training::Pupil, which is not either, has two.
struct Model : torch::nn::Module {
  static constexpr std::int64_t kWideSize = 33'000;  // its gradient has pages of its own

  explicit Model(int number) {
    below = register_module("below", torch::nn::Linear(6, 8));
    left = register_module("left", torch::nn::Linear(8, 3));
    right = register_module("right", torch::nn::Linear(8, 3));
    if (number == 1) wide = register_parameter("wide", torch::zeros({kWideSize}));
    to(torch::kFloat64);
    fill(*this);
  }
  torch::nn::Linear below{nullptr};
  torch::nn::Linear left{nullptr};
  torch::nn::Linear right{nullptr};
  torch::Tensor wide;
};

namespace {

constexpr double kTolerance = 1e-10;
constexpr std::int64_t kRowsOfARank = 3;

std::unique_ptr<torch::optim::Optimizer> optimizer_of(int number, const Model& model) {
  using torch::optim::Adam;
  using torch::optim::SGD;
  if (number == 1) return std::make_unique<Adam>(model.parameters(), torch::optim::AdamOptions(0.01));
  return std::make_unique<SGD>(model.parameters(), torch::optim::SGDOptions(0.1).momentum(0.9));
}

// What may happen inside a backward. Nothing of it does in the models that are trained alone.
struct Inside {
  Meanwhile meanwhile = nullptr;
  bool breaks = false;
  bool breaks_late = false;
};

torch::Tensor watched(torch::Tensor tensor, const Inside& inside) {
  if (inside.meanwhile && tensor.requires_grad()) {
    tensor.register_hook([meanwhile = inside.meanwhile](const torch::Tensor& gradient) {
      meanwhile(/*is_inside_backward=*/true);
      return gradient;
    });
  }
  return tensor;
}

// Of rank `rank`; `number` is unlike that of any other backward.
torch::Tensor loss_of_rank(Model& model, unsigned uses, int number, int rank, const Inside& inside) {
  auto inputs = numbers({kRowsOfARank, 6}, number + 0.1 * rank);
  if (inside.meanwhile) inputs = watched(inputs.requires_grad_() * 1.0, inside);
  if (inside.breaks && inside.breaks_late) inputs = Fragile::apply(inputs, true);
  auto hidden = torch::tanh((uses & kBelow) != 0 ? model.below(inputs)
                                                 : torch::cat({inputs, inputs}, 1).slice(1, 0, 8));
  if (inside.breaks && !inside.breaks_late) hidden = Fragile::apply(hidden, true);
  hidden = watched(hidden, inside);
  auto outputs = hidden.slice(1, 0, 3);
  if ((uses & kLeft) != 0) outputs = outputs + model.left(hidden);
  if ((uses & kRight) != 0) outputs = outputs * torch::sigmoid(model.right(hidden));
  auto loss = torch::mse_loss(watched(outputs, inside), numbers({kRowsOfARank, 3}, 7.0 * number + rank));
  if ((uses & kWide) != 0) loss = loss + (model.wide - 0.1 * (rank + number % 10)).square().mean();
  return loss;
}

void zero_gradients(const Model& model) {
  for (const auto& parameter : model.parameters()) {
    if (parameter.grad().defined()) parameter.grad().zero_();
  }
}

void compare(const std::string& what, const torch::Tensor& got, const torch::Tensor& expected) {
  if (got.defined() != expected.defined()) {
    throw std::runtime_error(
        text(what, " is ", got.defined() ? "" : "not ", "defined, unlike on one process"));
  }
  if (!got.defined() || torch::allclose(got, expected, kTolerance, kTolerance)) return;
  throw std::runtime_error(
      text(what, " differs from one process by ", (got - expected).abs().max().item<double>()));
}

}  // namespace

struct Training::Pupil {
  Pupil(int number, const ContextPointer& context)
      : number(number),
        trained(number),
        alone(number),
        optimizer(optimizer_of(number, trained), trained.named_parameters(), {.context = context}),
        optimizer_alone(optimizer_of(number, alone)) {}

  unsigned uses(const PassPlan& pass, int rank) const {
    return pass.uses[static_cast<std::size_t>(number)][static_cast<std::size_t>(rank)];
  }
  void compare_with_alone() const {
    const auto names = trained.named_parameters().keys();
    const auto ours = trained.parameters();
    const auto theirs = alone.parameters();
    for (std::size_t i = 0; i < ours.size(); ++i) {
      const auto name = text("model ", number, ", ", names[i]);
      compare("gradient of " + name, ours[i].grad(), theirs[i].grad());
      compare(name, ours[i].detach(), theirs[i].detach());
    }
  }

  int number;
  Model trained;
  Model alone;
  DistributedOptimizer optimizer;
  std::unique_ptr<torch::optim::Optimizer> optimizer_alone;
};

Training::Training(ContextPointer context) : context_(std::move(context)) {
  for (int number = 0; number < kModels; ++number)
    pupils_.push_back(std::make_unique<Pupil>(number, context_));
}

Training::~Training() = default;

std::vector<Training::Pupil*> Training::in_own_order(const StepPlan& step, Dice& own) {
  std::vector<Pupil*> out;
  for (const int number : step.models) out.push_back(pupils_[static_cast<std::size_t>(number)].get());
  own.shuffle(out);
  return out;
}

void Training::backward(const StepPlan& step, std::size_t pass, Dice& own, const Meanwhile& meanwhile) {
  const int rank = context_->rank();
  torch::Tensor total;
  for (Pupil* pupil : in_own_order(step, own)) {
    Inside inside{.meanwhile = meanwhile};
    inside.breaks = rank == step.failing_rank && static_cast<int>(pass) == step.failing_pass &&
                    pupil->number == step.failing_model;
    inside.breaks_late = step.fails_late;
    const auto loss = loss_of_rank(pupil->trained, pupil->uses(step.passes[pass], rank),
                                   2 * step.number + static_cast<int>(pass), rank, inside);
    total = total.defined() ? total + loss : loss;
  }
  total.backward();
}

bool Training::take_passes(const StepPlan& step, Dice& own, const Meanwhile& meanwhile) {
  for (std::size_t pass = 0; pass < step.passes.size(); ++pass) {
    if (pass > 0) meanwhile(/*is_inside_backward=*/false);
    std::string outcome = "goes well";
    try {
      backward(step, pass, own, meanwhile);
    } catch (const StepDiscarded&) {
      outcome = "is discarded";
    } catch (const std::runtime_error& error) {
      if (std::string(error.what()) != "this layer is broken") throw;
      outcome = "throws";
    }
    const bool fails = step.is_dropped() && static_cast<int>(pass) == step.failing_pass;
    const std::string expected = !fails                                  ? "goes well"
                                 : context_->rank() == step.failing_rank ? "throws"
                                                                         : "is discarded";
    if (outcome != expected)
      throw std::runtime_error(text("a backward ", outcome, " that should be one that ", expected));
    if (fails) return false;
  }
  return true;
}

void Training::end_step(const StepPlan& step, Pupil& pupil, Dice& own) {
  if (!step.is_dropped()) {
    pupil.optimizer.step();
    return;
  }
  if (context_->rank() != step.idle_rank) {
    // Both end a dropped step.
    if (own.one_in(2)) {
      pupil.optimizer.step();
    } else {
      pupil.optimizer.zero_grad(/*set_to_none=*/false);
    }
    return;
  }
  try {
    pupil.optimizer.step();
  } catch (const StepDiscarded&) {
    return;
  }
  throw std::runtime_error("a rank without a backward was not told that the step is dropped");
}

void Training::take(const StepPlan& step, Dice& own, const Meanwhile& meanwhile) {
  for (Pupil* pupil : in_own_order(step, own)) {
    if (step.clears) pupil->optimizer.zero_grad(step.set_to_none);
  }
  if (context_->rank() != step.idle_rank) take_passes(step, own, meanwhile);
  meanwhile(/*is_inside_backward=*/false);
  for (Pupil* pupil : in_own_order(step, own)) end_step(step, *pupil, own);
  follow(step);
}

// The same step without other ranks.
void Training::follow(const StepPlan& step) {
  std::vector<Pupil*> pupils;
  for (const int number : step.models) pupils.push_back(pupils_[static_cast<std::size_t>(number)].get());
  const std::size_t passes =
      step.is_dropped() ? static_cast<std::size_t>(step.failing_pass) : step.passes.size();
  for (Pupil* pupil : pupils) {
    if (step.clears) pupil->optimizer_alone->zero_grad(step.set_to_none);
    for (std::size_t pass = 0; pass < passes; ++pass) {
      torch::Tensor total;
      for (int rank = 0; rank < kRanks; ++rank) {
        if (rank == step.idle_rank) continue;
        const auto loss = loss_of_rank(pupil->alone, pupil->uses(step.passes[pass], rank),
                                       2 * step.number + static_cast<int>(pass), rank, {});
        total = total.defined() ? total + loss : loss;
      }
      (total / kRanks).backward();
    }
    if (step.is_dropped()) {
      zero_gradients(pupil->alone);
    } else {
      pupil->optimizer_alone->step();
    }
    pupil->compare_with_alone();
  }
}

std::int64_t Training::digest() const {
  std::uint64_t hash = 0xCBF29CE484222325U;
  const auto add = [&hash](const torch::Tensor& tensor) {
    const auto* const bytes = static_cast<const unsigned char*>(tensor.const_data_ptr());
    for (std::size_t i = 0; i < tensor.nbytes(); ++i) hash = (hash ^ bytes[i]) * 0x100000001B3U;
  };
  for (const auto& pupil : pupils_) {
    for (const auto& parameter : pupil->trained.parameters()) {
      add(parameter);
      if (parameter.grad().defined()) add(parameter.grad().contiguous());
    }
  }
  return static_cast<std::int64_t>(hash);
}

}  // namespace hvd
