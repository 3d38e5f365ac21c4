// A Session with a CUDA backend: negotiation on the host, reduction in stream order. Nobody blocks on the device.
#include "horovod_cpp/session.h"

#include "horovod_cpp/transport/inproc/inproc.h"
#include "tests/gpu/nccl_rank.h"
#include "tests/harness/run_ranks.h"

namespace hvd {
namespace {

constexpr std::size_t kCount = 100;

TEST(GpuSession, ReducesInStreamOrder) {
  constexpr int kRanks = 2;
  auto bootstrap = make_inproc_transports(kRanks);
  auto control = make_inproc_transports(kRanks);
  run_ranks(kRanks, [&](RankScope& scope) {
    const auto index = static_cast<std::size_t>(scope.rank());
    scope.guard(*bootstrap[index]);
    NcclRank rank(*bootstrap[index]);
    ASSERT_TRUE(rank);
    SessionParts parts;
    parts.placement = {scope.rank(), kRanks, scope.rank(), kRanks, 0, 1};
    parts.control = std::move(control[index]);
    parts.collectives.push_back(std::move(rank.collectives));
    auto session = Session::create(std::move(parts));
    ASSERT_TRUE(session.is_ok()) << session.status().message();
    const auto guarded = scope.guard_local(*session.value());

    const auto gradient = rank.gpu.memory(kCount * sizeof(float));
    const auto compute = rank.gpu.stream();
    Gate backward;
    rank.gpu.hold(*compute, backward);
    rank.gpu.fill(*compute, gradient->data(), static_cast<float>(scope.rank() + 1), kCount);

    Declaration declaration;
    declaration.name = "gradient";
    declaration.shape = {kCount};
    declaration.device = {DeviceType::cuda, scope.rank()};
    Submission submission;
    submission.id = session.value()->declare(declaration).value();
    submission.input = gradient->data();
    submission.output = gradient->data();
    submission.ready = compute->record().value();
    auto kept = std::make_shared<int>(0);
    const std::weak_ptr<int> is_kept = kept;
    submission.keep_alive = std::move(kept);
    const Work work = session.value()->submit(std::move(submission));

    // Done means enqueued: backward has not even produced the gradient.
    const Status enqueued = work.wait(soon());
    ASSERT_TRUE(enqueued.is_ok()) << enqueued.message();
    ASSERT_NE(work.completion(), nullptr);
    EXPECT_FALSE(work.completion()->is_complete().value());
    EXPECT_FALSE(is_kept.expired()) << "the device is still to use the memory";
    backward.open();

    ASSERT_TRUE(compute->wait(*work.completion()).is_ok());
    EXPECT_TRUE(compute->record().value()->synchronize(soon()).is_ok());
    const Bytes average = rank.gpu.download(gradient->data(), kCount * sizeof(float));
    for (std::size_t i = 0; i < kCount; ++i) {
      float value = 0;
      std::memcpy(&value, average.data() + i * sizeof(float), sizeof(float));
      ASSERT_EQ(value, 1.5F);
    }
    EXPECT_TRUE(session.value()->shutdown(soon()).is_ok());
    EXPECT_TRUE(is_kept.expired());
  });
}

}  // namespace
}  // namespace hvd
