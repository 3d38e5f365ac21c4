#include <vector>

#include "horovod_cpp/base/text.h"
#include "tests/bench/contender.h"

namespace hvd::bench {
namespace {

class MemoryFloor final : public Contender {
 public:
  explicit MemoryFloor(std::size_t elements) : a_(elements), b_(elements) {}

  std::string name() const override { return "memory floor, a = b = a + b"; }
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

}  // namespace

Result<std::unique_ptr<Contender>> make_memory_floor(const Workload& workload, Place place) {
  const std::size_t share = workload.element_count() / static_cast<std::size_t>(place.size);
  return std::unique_ptr<Contender>(std::make_unique<MemoryFloor>(share));
}

}  // namespace hvd::bench
