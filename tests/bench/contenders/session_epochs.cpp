#include "horovod_cpp/base/text.h"
#include "tests/bench/contenders/own.h"
#include "tests/bench/gradients.h"

namespace hvd::bench {
namespace {

constexpr std::size_t kLineFloats = 16;
constexpr std::size_t kBucketFloats = std::size_t{1} << 18U;

struct Placed {
  EpochPlan plan;
  std::vector<std::size_t> begin;  // [tensor] in floats
};

// Tensors one after another, each from the beginning of a cache line, in buckets of 1 MiB or a little more.
Placed place(const Workload& workload, int ranks) {
  Placed out;
  std::size_t floats = 0;
  for (const NamedShape& tensor : workload.tensors) {
    if (out.plan.buckets.empty() || out.plan.buckets.back().count >= kBucketFloats) {
      out.plan.buckets.push_back({floats * sizeof(float), 0, DataType::float32, out.plan.flags++, 1});
    }
    out.begin.push_back(floats);
    const auto count = static_cast<std::size_t>(element_count(tensor.shape));
    floats += (count + kLineFloats - 1) / kLineFloats * kLineFloats;
    EpochBucket& bucket = out.plan.buckets.back();
    bucket.count = floats - bucket.begin_bytes / sizeof(float);
  }
  out.plan.payload_bytes = floats * sizeof(float);
  out.plan.scale = 1.0 / ranks;
  return out;
}

std::vector<std::span<float>> tensors_in(std::byte* payload, const Workload& workload, const Placed& placed) {
  std::vector<std::span<float>> tensors;
  for (std::size_t i = 0; i < placed.begin.size(); ++i) {
    tensors.emplace_back(reinterpret_cast<float*>(payload) + placed.begin[i],
                         static_cast<std::size_t>(element_count(workload.tensors[i].shape)));
  }
  return tensors;
}

class SessionEpochs final : public Contender {
 public:
  SessionEpochs(Session& session, std::shared_ptr<Epochs> epochs, Gradients gradients)
      : session_(session), epochs_(std::move(epochs)), gradients_(std::move(gradients)) {}

  std::string title() const override { return "horovod_cpp epochs, gradients in shared memory"; }
  void fill(int repetition) override { gradients_.fill(session_.rank(), repetition); }
  Status run() override {
    for (std::size_t b = 0; b < epochs_->plan().buckets.size(); ++b) epochs_->publish(b);
    epochs_->close({});
    const auto outcome = epochs_->wait(Deadline::after(std::chrono::seconds(60)));
    if (!outcome) return Status::timed_out("the epoch did not end");
    return outcome->state == EpochState::complete ? Status() : epochs_->failure();
  }
  Status verify(int repetition) override {
    return gradients_.verify(session_.size(), repetition, 1.0 / session_.size());
  }

 private:
  Session& session_;
  std::shared_ptr<Epochs> epochs_;
  Gradients gradients_;
};

}  // namespace

Result<std::unique_ptr<Contender>> make_epochs(Session& session, const Workload& workload) {
  if (workload.is_step()) return Status::unimplemented("reduces tensors only");
  Placed placed = place(workload, session.size());
  placed.plan.chunk_bytes = fitted_chunk_bytes(caches_of_machine());
  std::shared_ptr<Epochs> epochs;
  const Work opened = session.open_epochs(workload.name, placed.plan, 0,
                                          [&](std::shared_ptr<Epochs> taken) { epochs = std::move(taken); });
  HVD_RETURN_IF_ERROR(opened.wait(Deadline::after(std::chrono::seconds(60))));
  Gradients gradients(tensors_in(epochs->payload(), workload, placed));
  return std::unique_ptr<Contender>(
      std::make_unique<SessionEpochs>(session, std::move(epochs), std::move(gradients)));
}

}  // namespace hvd::bench
