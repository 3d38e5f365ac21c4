// No communication: as many processes as there are cores (or ranks, if those are more) add private arrays, a = b = a + b. Together they read
// and write as many bytes as an all-reduce in place among the ranks must at least, if each of them reads and writes its result once.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "horovod_cpp/base/text.h"
#include "tests/bench/gradients.h"
#include "tests/bench/rank.h"

namespace hvd::bench {
namespace {

class MemoryFloor final : public Contender {
 public:
  explicit MemoryFloor(std::size_t elements) : a_(elements), b_(elements) {}

  std::string title() const override { return "memory floor, a = b = a + b"; }
  void fill(int round) override {
    for (std::size_t i = 0; i < a_.size(); ++i) {
      a_[i] = static_cast<float>((i + static_cast<std::size_t>(round)) % 64);
      b_[i] = 1.0F;
    }
  }
  Status run() override {
    float* const __restrict a = a_.data();
    float* const __restrict b = b_.data();
    const std::size_t count = a_.size();
    for (std::size_t i = 0; i < count; ++i) a[i] = b[i] = a[i] + b[i];
    return {};
  }
  void give_back() override {
    bench::give_back(a_);
    bench::give_back(b_);
  }
  Status verify(int round) override {
    for (std::size_t i = 0; i < a_.size(); ++i) {
      const float expected = static_cast<float>((i + static_cast<std::size_t>(round)) % 64) + 1.0F;
      if (a_[i] != expected || b_[i] != expected) return Status::internal(text("element ", i, " is ", a_[i]));
    }
    return {};
  }

 private:
  std::vector<float> a_;
  std::vector<float> b_;
};

Status serve() {
  const auto place = place_from_environment();
  HVD_RETURN_IF_ERROR(place.status());
  auto rank = Rank::join(place.value());
  HVD_RETURN_IF_ERROR(rank.status());
  const char* const reducers = std::getenv("HVDBENCH_REDUCERS");
  const auto ranks = static_cast<std::size_t>(reducers != nullptr ? std::atoi(reducers) : place.value().size);
  const auto processes = static_cast<std::size_t>(place.value().size);
  rank.value().obey([&](const Workload& workload) -> Result<std::unique_ptr<Contender>> {
    if (workload.is_step()) return Status::unimplemented("reduces tensors only");
    // An element of a costs two reads and two writes; an all-reduce one of each, for each rank's element.
    const std::size_t share = workload.element_count() * ranks / 2 / processes;
    return std::unique_ptr<Contender>(std::make_unique<MemoryFloor>(share));
  });
  return {};
}

}  // namespace
}  // namespace hvd::bench

int main() {
  const hvd::Status status = hvd::bench::serve();
  if (!status.is_ok()) std::fprintf(stderr, "hvd_bench_floor: %s\n", status.message().c_str());
  return status.is_ok() ? 0 : 1;
}
