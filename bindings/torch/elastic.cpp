#include "horovod_cpp/torch/elastic.h"

#include <ATen/core/grad_mode.h>

#include <stdexcept>

#include "bindings/torch/optimizer_archive.h"
#include "horovod_cpp/base/log.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/session.h"
#include "horovod_cpp/torch/context.h"
#include "horovod_cpp/torch/errors.h"
#include "horovod_cpp/torch/optimizer_state.h"
#include "horovod_cpp/torch/parameters.h"

namespace hvd {
namespace {

void keep(at::Tensor& copy, const at::Tensor& value) {
  if (copy.defined() && copy.sizes() == value.sizes() && copy.scalar_type() == value.scalar_type()) {
    copy.copy_(value);
  } else {
    copy = value.detach().to(c10::kCPU, /*non_blocking=*/false, /*copy=*/true);
  }
}

// As a tensor, for a broadcast: eight bytes, whatever they mean.
template <class T>
at::Tensor bytes_of(T& number) {
  return at::from_blob(&number, {static_cast<std::int64_t>(sizeof(T))}, c10::ScalarType::Byte);
}

// Why the Session of this process has ended; ok if it lives: then what was thrown is no loss of a rank.
Status end_of_session() { return is_initialized() ? session().status() : Status(); }

}  // namespace

State::State(torch::nn::Module& module, torch::optim::Optimizer& optimizer)
    : module_(module), optimizer_(optimizer) {}

void State::track(const std::string& name, std::int64_t& value) { track_any(name, &value); }
void State::track(const std::string& name, double& value) { track_any(name, &value); }
void State::track(const std::string& name, at::Tensor& value) { track_any(name, &value); }

void State::track_any(const std::string& name, Tracked value) {
  if (!tracked_.emplace(name, value).second) {
    throw std::invalid_argument(text("State: '", name, "' is tracked already; take another name"));
  }
}

std::map<std::string, at::Tensor> State::tensors() const {
  std::map<std::string, at::Tensor> all;
  for (const auto& item : module_.named_parameters()) all.emplace("parameter " + item.key(), item.value());
  for (const auto& item : module_.named_buffers()) all.emplace("buffer " + item.key(), item.value());
  for (const auto& [name, value] : tracked_) {
    if (const auto* const tensor = std::get_if<at::Tensor*>(&value)) all.emplace("tracked " + name, **tensor);
  }
  std::erase_if(all, [](const auto& entry) { return !entry.second.defined(); });
  return all;
}

void State::commit() {
  const at::NoGradGuard no_grad;
  for (const auto& [name, value] : tensors()) keep(tensors_[name], value);
  for (const auto& [name, value] : tracked_) {
    if (const auto* const whole = std::get_if<std::int64_t*>(&value)) numbers_[name] = **whole;
    if (const auto* const real = std::get_if<double*>(&value)) numbers_[name] = **real;
  }
  optimizer_bytes_ = archive_of(optimizer_);
  is_committed_ = true;
}

void State::restore() {
  if (!is_committed_) throw std::logic_error("State: restore() before any commit() or sync()");
  const at::NoGradGuard no_grad;
  for (const auto& [name, value] : tensors()) {
    if (const auto copy = tensors_.find(name); copy != tensors_.end()) value.copy_(copy->second);
  }
  for (const at::Tensor& parameter : module_.parameters()) parameter.mutable_grad().reset();
  for (const auto& [name, number] : numbers_) {
    const Tracked& value = tracked_.at(name);
    if (const auto* const whole = std::get_if<std::int64_t*>(&value))
      **whole = std::get<std::int64_t>(number);
    if (const auto* const real = std::get_if<double*>(&value)) **real = std::get<double>(number);
  }
  load_archive(optimizer_, optimizer_bytes_.data(), optimizer_bytes_.size());
}

void State::sync() {
  NamedTensors all;
  for (const auto& [name, value] : tensors()) all.insert(name, value);
  for (const auto& [name, value] : tracked_) {
    if (const auto* const whole = std::get_if<std::int64_t*>(&value))
      all.insert("tracked " + name, bytes_of(**whole));
    if (const auto* const real = std::get_if<double*>(&value))
      all.insert("tracked " + name, bytes_of(**real));
  }
  broadcast_tensors(all, 0, {.name = "state: "});
  broadcast_optimizer_state(optimizer_, 0, {.name = "state: "});
  commit();
}

void run_elastic(State& state, const std::function<void()>& train) {
  state.commit();  // what a loss within the first sync goes back to
  while (true) {
    try {
      state.sync();
      train();
      return;
    } catch (const WorldError& error) {
      const Status end = end_of_session();
      if (end.is_ok()) throw;
      Log(session().config().log_level, rank())
          .warning(text(error.what(), " This rank meets those who are left."));
    }
    meet_survivors();
    state.restore();
    Log(session().config().log_level, rank())
        .warning(text("This process goes on as rank ", rank(), " of ", size(), "."));
  }
}

}  // namespace hvd
