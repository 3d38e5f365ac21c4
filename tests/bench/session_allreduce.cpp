#include "horovod_cpp/base/text.h"
#include "horovod_cpp/world.h"
#include "tests/bench/contender.h"
#include "tests/bench/gradients.h"

namespace hvd::bench {
namespace {

class SessionAllreduce final : public Contender {
 public:
  SessionAllreduce(std::unique_ptr<Session> session, const Workload& workload)
      : session_(std::move(session)), gradients_(workload, Layout::separate) {}
  ~SessionAllreduce() override {
    static_cast<void>(session_->shutdown(Deadline::after(std::chrono::seconds(30))));
  }

  Status declare(const Workload& workload) {
    for (const auto& tensor : workload.tensors) {
      Declaration declaration;
      declaration.name = tensor.name;
      declaration.shape = tensor.shape;
      declaration.op = ReduceOp::average;
      const auto id = session_->declare(declaration);
      HVD_RETURN_IF_ERROR(id.status());
      ids_.push_back(id.value());
    }
    return {};
  }

  std::string name() const override { return text("horovod_cpp (", session_->backends(), ")"); }
  void fill(int round) override { gradients_.fill(session_->rank(), round); }
  Status run() override {
    std::vector<Submission> submissions;
    for (std::size_t i = 0; i < ids_.size(); ++i) {
      float* const data = gradients_.tensors()[i].data();
      submissions.push_back(
          {.id = ids_[i], .input = data, .output = data, .ready = nullptr, .keep_alive = nullptr});
    }
    for (const Work& work : session_->submit(std::move(submissions))) {
      HVD_RETURN_IF_ERROR(work.wait(Deadline::after(std::chrono::seconds(60))));
    }
    return {};
  }
  Status verify(int round) override {
    return gradients_.verify(session_->size(), round, 1.0 / session_->size());
  }

 private:
  std::unique_ptr<Session> session_;
  Gradients gradients_;
  std::vector<TensorId> ids_;
};

}  // namespace

Result<std::unique_ptr<Contender>> make_session(const Workload& workload, Place place) {
  auto session = open_session();
  HVD_RETURN_IF_ERROR(session.status());
  if ((*session)->rank() != place.rank || (*session)->size() != place.size) {
    return Status::internal(text("the session is rank ", (*session)->rank(), " of ", (*session)->size(),
                                 ", MPI says ", place.rank, " of ", place.size));
  }
  auto contender = std::make_unique<SessionAllreduce>(std::move(session).value(), workload);
  HVD_RETURN_IF_ERROR(contender->declare(workload));
  return std::unique_ptr<Contender>(std::move(contender));
}

}  // namespace hvd::bench
