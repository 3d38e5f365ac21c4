// Ranks that die, stay away or give up: an error on the others, never a hang, never a GPU left spinning.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/transport/inproc/inproc.h"
#include "horovod_cpp/transport/tcp/tcp_transport.h"
#include "tests/gpu/child_process.h"
#include "tests/gpu/nccl_rank.h"
#include "tests/harness/run_ranks.h"

namespace hvd {
namespace {

// Two ranks as threads; the bodies meet nowhere but in NCCL.
void on_two_ranks(const std::function<void(NcclRank& rank, int index)>& body) {
  auto transports = make_inproc_transports(2);
  run_ranks(2, [&](RankScope& scope) {
    Transport& transport = *transports[static_cast<std::size_t>(scope.rank())];
    scope.guard(transport);
    NcclRank rank(transport);
    ASSERT_TRUE(rank);
    const auto guarded = scope.guard_local(*rank.collectives);
    body(rank, scope.rank());
  });
}

// Or until the others have surely failed.
void await(const std::atomic<bool>& is_done) {
  const auto limit = Deadline::after(std::chrono::seconds(120));
  while (!is_done.load() && !limit.passed()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

struct OneFloat {
  explicit OneFloat(Gpu& gpu) : memory(gpu.upload(std::as_bytes(std::span(&value, 1)))) {
    slice = {memory->data(), memory->data(), 1, nullptr};
  }
  AllreduceRequest request() const { return {.slices = {&slice, 1}, .deadline = soon()}; }

  float value = 1.0F;
  std::unique_ptr<DeviceMemory> memory;
  TensorSlice slice;
};

TEST(NcclFailure, AbortEndsAnOperationThatWaitsForAnotherRank) {
  std::atomic<bool> rank_0_is_done{false};
  on_two_ranks([&](NcclRank& rank, int index) {
    if (index == 1) {
      // Stays away, and leaves only when the other has got its error.
      await(rank_0_is_done);
      rank.collectives->abort(Status::aborted("rank 1 gives up"));
      return;
    }
    const OneFloat one(rank.gpu);
    const auto end = rank.collectives->allreduce(one.request());
    ASSERT_TRUE(end.is_ok()) << end.status().message();
    EXPECT_EQ(end.value()->synchronize(Deadline::after(std::chrono::milliseconds(50))).code(),
              StatusCode::timed_out);
    std::thread watcher(
        [&] { rank.collectives->abort(Status::aborted("rank 1 was lost, says the watcher")); });
    const Status status = end.value()->synchronize(soon());
    EXPECT_EQ(status.code(), StatusCode::aborted);
    EXPECT_NE(status.message().find("says the watcher"), std::string::npos) << status.message();
    watcher.join();

    // Latched: the first reason stays, whatever is called.
    rank.collectives->abort(Status::aborted("a later reason"));
    EXPECT_NE(rank.collectives->allreduce(one.request()).status().message().find("says the watcher"),
              std::string::npos);
    EXPECT_NE(rank.collectives->barrier(soon()).message().find("says the watcher"), std::string::npos);
    EXPECT_EQ(end.value()->is_complete().status().code(), StatusCode::aborted);

    // The device is free: work of others after the operation goes on, and finishes.
    const auto consumer = rank.gpu.stream();
    ASSERT_TRUE(consumer->wait(*end.value()).is_ok());
    EXPECT_TRUE(consumer->record().value()->synchronize(soon()).is_ok());
    rank_0_is_done.store(true);
  });
}

TEST(NcclFailure, ABarrierWithoutTheOthersEndsAtItsDeadline) {
  std::atomic<bool> rank_0_is_done{false};
  on_two_ranks([&](NcclRank& rank, int index) {
    if (index == 1) {
      await(rank_0_is_done);
      rank.collectives->abort(Status::aborted("rank 1 gives up"));
      return;
    }
    const Status status = rank.collectives->barrier(Deadline::after(std::chrono::milliseconds(100)));
    EXPECT_EQ(status.code(), StatusCode::timed_out);
    EXPECT_NE(status.message().find("rank 0 of 2"), std::string::npos) << status.message();
    EXPECT_NE(status.message().find("barrier"), std::string::npos) << status.message();
    EXPECT_EQ(rank.collectives->barrier(soon()).message(), status.message());
    rank_0_is_done.store(true);
  });
}

// An abort while the coordinator's thread is in the middle of calls, from many threads, again and again.
TEST(NcclFailure, AbortMayComeAtAnyMoment) {
  for (int round = 0; round < 10; ++round) {
    on_two_ranks([&](NcclRank& rank, int) {
      const OneFloat one(rank.gpu);
      std::thread aborter([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(3 * round));
        rank.collectives->abort(Status::aborted("enough"));
      });
      Status status;
      for (const auto limit = soon(); status.is_ok() && !limit.passed();)
        status = finish(rank.collectives->allreduce(one.request()));
      EXPECT_EQ(status.code(), StatusCode::aborted);
      EXPECT_EQ(status.message(), "enough");
      aborter.join();
    });
  }
}

// NCCL puts an operation on the stream in the background, also after the caller has turned away because of an abort. It
// may use the memory for something else then: a late operation would add up what it put there.
TEST(NcclFailure, AnAbortedOperationLeavesItsMemoryAlone) {
  if (std::getenv("HVD_STANDIN_NCCL_ABORT_MS") == nullptr) {
    ChildProcess child({"--gtest_filter=NcclFailure.AnAbortedOperationLeavesItsMemoryAlone"},
                       {"HVD_STANDIN_NCCL_CALL_MS=20", "HVD_STANDIN_NCCL_ABORT_MS=100"});
    const ChildEnd end = child.wait(std::chrono::seconds(120));
    EXPECT_EQ(end.exit_code, 0) << end.output;
    return;
  }
  std::vector<std::unique_ptr<Gpu>> gpus;
  std::vector<std::unique_ptr<OneFloat>> ones;
  for (int index = 0; index < 2; ++index) {
    gpus.push_back(std::make_unique<Gpu>(index));
    ones.push_back(std::make_unique<OneFloat>(*gpus.back()));
  }
  on_two_ranks([&](NcclRank& rank, int index) {
    const OneFloat& one = *ones[static_cast<std::size_t>(index)];
    std::thread aborter([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      rank.collectives->abort(Status::aborted("enough"));
    });
    Status status;
    for (const auto limit = soon(); status.is_ok() && !limit.passed();)
      status = finish(rank.collectives->allreduce(one.request()));
    EXPECT_EQ(status.message(), "enough");
    const auto other_work = rank.gpu.stream();
    rank.gpu.fill(*other_work, one.memory->data(), 7.0F, 1);
    EXPECT_TRUE(other_work->record().value()->synchronize(soon()).is_ok());
    aborter.join();
  });
  // The communicators have ended: nothing can come any more.
  for (std::size_t index = 0; index < 2; ++index) {
    const Bytes bytes = gpus[index]->download(ones[index]->memory->data(), sizeof(float));
    float seen = 0;
    std::memcpy(&seen, bytes.data(), sizeof(seen));
    EXPECT_EQ(seen, 7.0F) << "rank " << index;
  }
}

TEST(NcclFailure, AFarewellThatNobodyAnswersIsBounded) {
  auto transports = make_inproc_transports(2);
  std::vector<std::unique_ptr<NcclRank>> ranks(2);
  run_ranks(2, [&](RankScope& scope) {
    const auto index = static_cast<std::size_t>(scope.rank());
    scope.guard(*transports[index]);
    ranks[index] = std::make_unique<NcclRank>(*transports[index]);
    ASSERT_TRUE(*ranks[index]);
  });
  // Rank 1 lives on and never says goodbye.
  const auto start = std::chrono::steady_clock::now();
  ranks[0].reset();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
  ranks[1]->collectives->abort(Status::shut_down("end of the test"));
}

TEST(NcclFailure, ARankWithoutADeviceIsNamedOnEveryRank) {
  auto transports = make_inproc_transports(2);
  run_ranks(2, [&](RankScope& scope) {
    Transport& transport = *transports[static_cast<std::size_t>(scope.rank())];
    scope.guard(transport);
    Gpu gpu(scope.rank());
    std::unique_ptr<Collectives> collectives;
    const Status status = cuda_plugin().open_collectives(
        transport, scope.rank() == 1 ? nullptr : gpu.device(), soon(), &collectives);
    EXPECT_EQ(status.code(), StatusCode::unavailable);
    EXPECT_NE(status.message().find("rank 1"), std::string::npos) << status.message();
    EXPECT_EQ(collectives, nullptr);
  });
}

// Ranks as processes. The child is this case, again, as rank 1.
std::unique_ptr<Transport> transport_over(int rank, int fd) {
  std::vector<UniqueFd> sockets(2);
  sockets[static_cast<std::size_t>(1 - rank)].reset(fd);
  auto transport = make_tcp_transport(rank, std::move(sockets));
  EXPECT_TRUE(transport.is_ok()) << transport.status().message();
  return std::move(transport).value();
}

int as_rank_1(const char* link, const std::function<void(NcclRank& rank)>& body) {
  const auto transport = transport_over(1, std::atoi(link));
  NcclRank rank(*transport);
  if (!rank) return 1;
  body(rank);
  return 0;
}

std::unique_ptr<ChildProcess> start_rank_1(const char* test, UniqueFd& mine) {
  int ends[2];
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  mine.reset(ends[0]);
  const UniqueFd theirs(ends[1]);
  return std::make_unique<ChildProcess>(std::vector<std::string>{std::string("--gtest_filter=") + test},
                                        std::vector<std::string>{text("HVD_TEST_LINK=", ends[1])}, ends[1]);
}

TEST(NcclProcesses, TwoProcessesReduceTogether) {
  const auto body = [](NcclRank& rank) {
    for (int i = 0; i < 20; ++i) {
      std::vector<float> values(50'000, 1.0F + static_cast<float>(i));
      const auto memory = rank.gpu.upload(std::as_bytes(std::span(values)));
      const TensorSlice slice{memory->data(), memory->data(), values.size(), nullptr};
      ASSERT_TRUE(
          finish(rank.collectives->allreduce({.slices = {&slice, 1}, .scale = 0.5, .deadline = soon()}))
              .is_ok());
      const Bytes bytes = rank.gpu.download(memory->data(), memory->size_in_bytes());
      std::vector<float> seen(values.size());
      std::memcpy(seen.data(), bytes.data(), bytes.size());
      ASSERT_EQ(seen, values);
    }
  };
  if (const char* link = std::getenv("HVD_TEST_LINK")) {
    ASSERT_EQ(as_rank_1(link, body), 0);
    return;
  }
  UniqueFd mine;
  const auto child = start_rank_1("NcclProcesses.TwoProcessesReduceTogether", mine);
  {
    const auto transport = transport_over(0, mine.release());
    NcclRank rank(*transport);
    ASSERT_TRUE(rank);
    body(rank);
  }
  const ChildEnd end = child->wait(std::chrono::seconds(60));
  EXPECT_EQ(end.exit_code, 0) << end.output;
}

// NCCL notices the death by itself; whoever waits gets the error,
// the GPU gets free, and later calls fail at once.
TEST(NcclProcesses, TheDeathOfARankIsAnErrorOnTheOther) {
  if (const char* link = std::getenv("HVD_TEST_LINK")) {
    as_rank_1(link, [](NcclRank& rank) {
      ASSERT_TRUE(rank.collectives->barrier(soon()).is_ok());
      sleep(120);  // to be killed; not for ever, should nobody do it
    });
    return;
  }
  UniqueFd mine;
  const auto child = start_rank_1("NcclProcesses.TheDeathOfARankIsAnErrorOnTheOther", mine);
  const auto transport = transport_over(0, mine.release());
  NcclRank rank(*transport);
  ASSERT_TRUE(rank);
  ASSERT_TRUE(rank.collectives->barrier(soon()).is_ok());
  const OneFloat one(rank.gpu);
  const auto end = rank.collectives->allreduce(one.request());
  ASSERT_TRUE(end.is_ok()) << end.status().message();
  EXPECT_FALSE(end.value()->is_complete().value());
  child->kill();
  // The child stays a zombie meanwhile: nobody waits for it.
  const Status status = end.value()->synchronize(soon());
  EXPECT_EQ(status.code(), StatusCode::aborted);
  EXPECT_NE(status.message().find("remote process exited"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("rank 0 of 2"), std::string::npos) << status.message();
  EXPECT_EQ(rank.collectives->barrier(soon()).code(), StatusCode::aborted);
  const auto consumer = rank.gpu.stream();
  ASSERT_TRUE(consumer->wait(*end.value()).is_ok());
  EXPECT_TRUE(consumer->record().value()->synchronize(soon()).is_ok());
}

// Versions that do not fit are refused with both named.
TEST(NcclVersions, AnOldLibraryIsRefused) {
  if (!standin_live_objects()) GTEST_SKIP() << "only the stand-in pretends versions";
  if (std::getenv("HVD_STANDIN_NCCL_VERSION") == nullptr) {
    ChildProcess child({"--gtest_filter=NcclVersions.AnOldLibraryIsRefused"},
                       {"HVD_STANDIN_NCCL_VERSION=21003"});
    const ChildEnd end = child.wait(std::chrono::seconds(60));
    EXPECT_EQ(end.exit_code, 0) << end.output;
    EXPECT_NE(end.output.find("1 test"), std::string::npos) << end.output;
    return;
  }
  std::string details;
  const Status status = cuda_plugin().probe(&details);
  EXPECT_EQ(status.code(), StatusCode::unavailable);
  EXPECT_NE(status.message().find("NCCL 2.10.3"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("2.18.0 or newer"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace hvd
