// As a user would write it from README.md: a small network learns a function, on as many ranks as there are.
#include <horovod_cpp/torch.h>
#include <torch/torch.h>

#include <iostream>

int main() {
  hvd::init();

  torch::manual_seed(1 + hvd::rank());  // other weights and other data on every rank
  torch::nn::Sequential model(torch::nn::Linear(4, 16), torch::nn::Tanh(), torch::nn::Linear(16, 1));
  const auto inputs = torch::randn({64, 4});
  const auto targets = inputs.sum(1, /*keepdim=*/true);

  hvd::broadcast_parameters(*model);
  torch::optim::SGD sgd(model->parameters(), 0.02 * hvd::size());
  hvd::DistributedOptimizer optimizer(sgd, model->named_parameters());

  double first = 0, last = 0;
  for (int step = 0; step < 50; ++step) {
    optimizer.zero_grad();
    const auto loss = torch::mse_loss(model->forward(inputs), targets);
    loss.backward();
    optimizer.step();
    last = hvd::allreduce(loss).item<double>();
    if (step == 0) first = last;
  }

  // The replicas saw different data, and are still the same.
  bool same = true;
  for (const auto& parameter : model->parameters()) {
    const auto highest = hvd::allreduce(parameter, {.op = hvd::Max});
    const auto lowest = hvd::allreduce(parameter, {.op = hvd::Min});
    same = same && torch::equal(highest, lowest);
  }
  std::cout << "rank " << hvd::rank() << " of " << hvd::size() << ": loss " << first << " -> " << last
            << (same ? ", replicas are equal" : ", replicas differ") << std::endl;
  return same && last < first / 2 ? 0 : 1;
}
