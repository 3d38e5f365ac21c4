// The order of work on the device: nobody blocks, nobody reads too early.
// Kernels are played by gates on streams.
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <thread>

#include "horovod_cpp/transport/inproc/inproc.h"
#include "tests/gpu/child_process.h"
#include "tests/gpu/nccl_rank.h"
#include "tests/harness/run_ranks.h"

namespace hvd {
namespace {

constexpr int kRanks = 2;
constexpr std::size_t kCount = 1000;
constexpr float kStale = -1.0F;

// How long an operation that does not wait gets to show it.
constexpr auto kTemptation = std::chrono::milliseconds(300);
void tempt(Event& end) {
  const auto until = Deadline::after(kTemptation);
  while (!until.passed() && !end.is_complete().value())
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

std::vector<float> floats(const Bytes& bytes) {
  std::vector<float> out(bytes.size() / sizeof(float));
  std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

void on_ranks(const std::function<void(NcclRank& rank, int index)>& body) {
  auto transports = make_inproc_transports(kRanks);
  run_ranks(kRanks, [&](RankScope& scope) {
    Transport& transport = *transports[static_cast<std::size_t>(scope.rank())];
    scope.guard(transport);
    NcclRank rank(transport);
    ASSERT_TRUE(rank);
    const auto guarded = scope.guard_local(*rank.collectives);
    body(rank, scope.rank());
  });
}

// A producer on the compute stream is late on every rank. The operation must wait for it (ready), a consumer
// must wait for the operation (Completion), and the host must wait for neither.
template <class Operation>
void check_order(NcclRank& rank, float produced, float expected, const Operation& operation) {
  const std::vector<float> stale(kCount, kStale);
  const auto input = rank.gpu.upload(std::as_bytes(std::span(stale)));
  const auto output = rank.gpu.upload(std::as_bytes(std::span(stale)));
  const auto compute = rank.gpu.stream();
  const auto consumer = rank.gpu.stream();
  Bytes consumed(kCount * sizeof(float));

  Gate gate;
  rank.gpu.hold(*compute, gate);
  rank.gpu.fill(*compute, input->data(), produced, kCount);
  const auto ready = compute->record().value();
  const TensorSlice slices[] = {{input->data(), output->data(), kCount - 1, ready.get()},
                                {static_cast<float*>(input->data()) + kCount - 1,
                                 static_cast<float*>(output->data()) + kCount - 1, 1, ready.get()}};
  const Result<Completion> end = operation(std::span<const TensorSlice>(slices));
  ASSERT_TRUE(end.is_ok()) << end.status().message();
  ASSERT_NE(end.value(), nullptr);
  ASSERT_TRUE(consumer->wait(*end.value()).is_ok());
  rank.gpu.copy_to_host(*consumer, consumed, output->data());

  tempt(*end.value());
  EXPECT_FALSE(end.value()->is_complete().value()) << "the operation ran before its input was ready";
  gate.open();
  EXPECT_TRUE(end.value()->synchronize(soon()).is_ok());
  EXPECT_TRUE(consumer->record().value()->synchronize(soon()).is_ok());
  EXPECT_TRUE(compute->record().value()->synchronize(soon()).is_ok());
  EXPECT_EQ(floats(rank.gpu.download(output->data(), kCount * sizeof(float))),
            std::vector<float>(kCount, expected))
      << "the operation read its input too early";
  EXPECT_EQ(floats(consumed), std::vector<float>(kCount, expected))
      << "the consumer read the output too early";
}

TEST(NcclOrder, AllreduceWaitsForItsInputsAndConsumersForIt) {
  on_ranks([](NcclRank& rank, int index) {
    check_order(rank, static_cast<float>(index + 1), 1.5F, [&](std::span<const TensorSlice> slices) {
      return rank.collectives->allreduce({.slices = slices, .scale = 0.5, .deadline = soon()});
    });
  });
}

TEST(NcclOrder, BroadcastWaitsForItsInputsAndConsumersForIt) {
  on_ranks([](NcclRank& rank, int index) {
    check_order(rank, static_cast<float>(index + 10), 11.0F, [&](std::span<const TensorSlice> slices) {
      return rank.collectives->broadcast({.slices = slices, .root = 1, .deadline = soon()});
    });
  });
}

// Several operations are under way at once, enqueued without waiting, and end in their order.
TEST(NcclOrder, OperationsFollowEachOtherOnTheDevice) {
  on_ranks([](NcclRank& rank, int) {
    const float one = 1.0F;
    const auto memory = rank.gpu.upload(std::as_bytes(std::span(&one, 1)));
    const auto compute = rank.gpu.stream();
    Gate gate;
    rank.gpu.hold(*compute, gate);
    const auto ready = compute->record().value();
    const TensorSlice slice{memory->data(), memory->data(), 1, ready.get()};
    std::vector<Completion> ends;
    for (int i = 0; i < 5; ++i)
      ends.push_back(rank.collectives->allreduce({.slices = {&slice, 1}, .deadline = soon()}).value());
    for (const Completion& end : ends) EXPECT_FALSE(end->is_complete().value());
    gate.open();
    ASSERT_TRUE(ends.back()->synchronize(soon()).is_ok());
    for (const Completion& end : ends) EXPECT_TRUE(end->is_complete().value());
    EXPECT_EQ(floats(rank.gpu.download(memory->data(), sizeof(float))), std::vector<float>{32.0F});
  });
}

// The cases above must be able to fail: on a device whose streams ignore cuStreamWaitEvent they do.
TEST(NcclOrderProof, TheseTestsSeeAMissingWait) {
  if (!standin_live_objects()) GTEST_SKIP() << "only the stand-in can ignore waits";
  for (const char* test : {"NcclOrder.AllreduceWaitsForItsInputsAndConsumersForIt",
                           "NcclOrder.BroadcastWaitsForItsInputsAndConsumersForIt"}) {
    ChildProcess child({std::string("--gtest_filter=") + test}, {"HVD_STANDIN_IGNORE_WAIT=1"});
    const ChildEnd end = child.wait(std::chrono::seconds(120));
    EXPECT_TRUE(end.exited_by_itself) << end.output;
    EXPECT_NE(end.exit_code, 0) << test << " did not notice that nobody waits\n" << end.output;
    EXPECT_NE(end.output.find("the operation ran before its input was ready"), std::string::npos)
        << end.output;
    EXPECT_NE(end.output.find("the operation read its input too early"), std::string::npos) << end.output;
    EXPECT_NE(end.output.find("the consumer read the output too early"), std::string::npos) << end.output;
  }
}

}  // namespace
}  // namespace hvd
