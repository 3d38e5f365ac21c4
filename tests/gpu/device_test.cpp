// The CUDA device keeps the contract of Device, Stream and Event, and leaves nothing behind.
#include "tests/conformance/device_suite.h"
#include "tests/gpu/gpu.h"

namespace hvd {
namespace {

struct CudaTraits {
  static std::shared_ptr<Device> open() { return Gpu(0).device(); }
  static Bytes read(Device&, const void* from, std::size_t bytes) { return Gpu(0).download(from, bytes); }
  static std::unique_ptr<DeviceMemory> write(Device&, std::span<const std::byte> bytes) {
    return Gpu(0).upload(bytes);
  }
  using Gate = hvd::Gate;
  static void hold(Device&, Stream& stream, Gate& gate) { Gpu(0).hold(stream, gate); }
};
INSTANTIATE_TYPED_TEST_SUITE_P(Cuda, DeviceSuite, CudaTraits);

TEST(CudaDevice, NamesTheIndexThatDoesNotExist) {
  std::shared_ptr<Device> device;
  const Status status = cuda_plugin().open_device(1000, &device);
  EXPECT_EQ(status.code(), StatusCode::unavailable);
  EXPECT_NE(status.message().find("cuda:1000"), std::string::npos) << status.message();
  EXPECT_EQ(device, nullptr);
}

TEST(CudaDevice, RefusesToWaitForAnEventOfTheHost) {
  class HostEvent final : public Event {
   public:
    Result<bool> is_complete() override { return true; }
    Status synchronize(Deadline) override { return {}; }
    void* native_handle() const override { return nullptr; }
  };
  EXPECT_EQ(Gpu(0).stream()->wait(HostEvent()).code(), StatusCode::invalid_argument);
}

TEST(CudaDevice, LeavesNothingBehind) {
  const auto before = standin_live_objects();
  if (!before) GTEST_SKIP() << "counts are the stand-in's";
  {
    Gpu gpu(3);
    const auto stream = gpu.stream();
    const auto memory = gpu.memory(100);
    const auto event = stream->record().value();
    EXPECT_GT(*standin_live_objects(), *before);
    // What outlives the device keeps its context alive.
    std::shared_ptr<Event> survivor = stream->record().value();
    gpu = Gpu(4);
    EXPECT_TRUE(survivor->synchronize(Deadline::after(std::chrono::seconds(30))).is_ok());
  }
  EXPECT_EQ(standin_live_objects(), before);
}

TEST(CudaPlugin, TellsWhatItFound) {
  std::string details;
  const Status status = cuda_plugin().probe(&details);
  ASSERT_TRUE(status.is_ok()) << status.message();
  EXPECT_NE(details.find("NCCL "), std::string::npos) << details;
  EXPECT_STREQ(cuda_plugin().name, "cuda");
  EXPECT_STREQ(cuda_plugin().version, HVD_VERSION);
  EXPECT_EQ(cuda_plugin().abi_version, kPluginAbiVersion);
}

}  // namespace
}  // namespace hvd
