// The suite of the Collectives port on NCCL, with ranks as threads, each on the device of its number.
#include "horovod_cpp/transport/inproc/inproc.h"
#include "tests/conformance/collectives_suite.h"
#include "tests/gpu/nccl_rank.h"
#include "tests/harness/run_ranks.h"

namespace hvd {
namespace {

// Memory of the device that the calling thread's rank is on.
class RankMemory final : public SuiteMemory {
 public:
  static void set(Gpu* gpu) { slot() = gpu; }

  std::shared_ptr<void> allocate(std::size_t bytes) override {
    const std::shared_ptr<DeviceMemory> memory = slot()->memory(bytes + 1);
    return {memory, memory->data()};
  }
  void write(void* device, const void* host, std::size_t bytes) override {
    slot()->copy_from_host(device, {static_cast<const std::byte*>(host), bytes});
  }
  void read(void* host, const void* device, std::size_t bytes) override {
    if (bytes == 0) return;
    const Bytes values = slot()->download(device, bytes);
    std::memcpy(host, values.data(), bytes);
  }

 private:
  static Gpu*& slot() {
    thread_local Gpu* gpu = nullptr;
    return gpu;
  }
};

CollectivesWorld nccl_world() {
  CollectivesWorld world;
  world.name = "nccl";
  world.sizes = {1, 2, 3};
  world.run = [](int n, const std::function<void(Collectives&, int)>& body) {
    auto transports = make_inproc_transports(n);
    run_ranks(n, [&](RankScope& scope) {
      Transport& transport = *transports[static_cast<std::size_t>(scope.rank())];
      scope.guard(transport);
      NcclRank rank(transport);
      ASSERT_TRUE(rank);
      const auto guarded = scope.guard_local(*rank.collectives);
      RankMemory::set(&rank.gpu);
      body(*rank.collectives, scope.rank());
      RankMemory::set(nullptr);
    });
  };
  world.in_rank_order = false;  // NVIDIA's; and scales must be powers of two
  world.scales_sums_only = true;
  world.may_break = false;  // nccl_failure_test.cpp
  world.memory = std::make_shared<RankMemory>();
  return world;
}

INSTANTIATE_TEST_SUITE_P(Nccl, CollectivesSuite, testing::Values(nccl_world()), name_of_world);

}  // namespace
}  // namespace hvd
