#include <chrono>
#include <cmath>

#include "horovod_cpp/base/text.h"
#include "tests/bench/contenders/own.h"
#include "tests/bench/gradients.h"

namespace hvd::bench {
namespace {

class SessionAllreduce final : public Contender {
 public:
  SessionAllreduce(Session& session, const Workload& workload)
      : session_(session), gradients_(workload, Layout::separate) {}

  Status declare(const Workload& workload) {
    for (const auto& tensor : workload.tensors) {
      Declaration declaration;
      declaration.name = text(workload.name, "/", tensor.name);
      declaration.shape = tensor.shape;
      declaration.op = ReduceOp::average;
      const auto id = session_.declare(declaration);
      HVD_RETURN_IF_ERROR(id.status());
      ids_.push_back(id.value());
    }
    return {};
  }

  std::string title() const override {
    const auto busy = std::chrono::duration<double>(session_.processor_time() - busy_before_).count();
    const auto all = std::chrono::duration<double>(Clock::now() - began_).count();
    return text("horovod_cpp Session, ordinary memory (", session_.backends(), "); its thread uses ",
                std::lround(100 * busy / all), " % of a core");
  }
  void fill(int repetition) override { gradients_.fill(session_.rank(), repetition); }
  Status run() override {
    std::vector<Submission> submissions;
    for (std::size_t i = 0; i < ids_.size(); ++i) {
      float* const data = gradients_.tensors()[i].data();
      submissions.push_back(
          {.id = ids_[i], .input = data, .output = data, .ready = nullptr, .keep_alive = nullptr});
    }
    for (const Work& work : session_.call(std::move(submissions))) HVD_RETURN_IF_ERROR(work.wait());
    return {};
  }
  Status verify(int repetition) override {
    return gradients_.verify(session_.size(), repetition, 1.0 / session_.size());
  }
  void give_back() override { gradients_.give_back(); }

 private:
  using Clock = std::chrono::steady_clock;

  Session& session_;
  const Clock::time_point began_ = Clock::now();
  const std::chrono::nanoseconds busy_before_ = session_.processor_time();
  Gradients gradients_;
  std::vector<TensorId> ids_;
};

}  // namespace

Result<std::unique_ptr<Contender>> make_session(Session& session, const Workload& workload) {
  if (workload.is_step()) return Status::unimplemented("reduces tensors only");
  auto contender = std::make_unique<SessionAllreduce>(session, workload);
  HVD_RETURN_IF_ERROR(contender->declare(workload));
  return std::unique_ptr<Contender>(std::move(contender));
}

}  // namespace hvd::bench
