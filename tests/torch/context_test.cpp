// The process's own Context, on one rank without a launcher, and what holds without ranks.
#include <gtest/gtest.h>
#include <horovod_cpp/torch/collectives.h>
#include <horovod_cpp/torch/errors.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ATen/ops/ones.h>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <sstream>

#include "bindings/torch/integer_average.h"

namespace hvd {
namespace {

std::string refusal_of(void (*call)()) {
  try {
    call();
  } catch (const std::logic_error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Process, IsOneRankWithoutALauncher) {
  EXPECT_FALSE(is_initialized());
  for (void (*call)() : {+[] { rank(); }, +[] { size(); }, +[] { local_rank(); },
                         +[] { allreduce(at::ones({1})); }, +[] { barrier(); }}) {
    EXPECT_EQ(refusal_of(call), "horovod_cpp is not initialised: call hvd::init() first");
  }
  shutdown();  // harmless
  for (int round = 0; round < 2; ++round) {
    init();
    init();  // harmless
    EXPECT_TRUE(is_initialized());
    EXPECT_EQ(rank(), 0);
    EXPECT_EQ(size(), 1);
    EXPECT_EQ(local_rank(), 0);
    EXPECT_EQ(local_size(), 1);
    EXPECT_EQ(cross_rank(), 0);
    EXPECT_EQ(cross_size(), 1);
    EXPECT_EQ(allreduce(at::ones({2})).sum().item<float>(), 2);
    shutdown();
    shutdown();  // harmless
    EXPECT_FALSE(is_initialized());
    EXPECT_EQ(refusal_of([] { allreduce(at::ones({1})); }),
              "horovod_cpp was shut down: call hvd::init() again before anything else");
  }
}

TEST(Process, ForkedChildIsRefusedAndLeavesTheParentAlone) {
  init();
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    int refusals = 0;
    for (void (*call)() : {+[] { init(); }, +[] { shutdown(); }, +[] { allreduce(at::ones({1})); }}) {
      const std::string words =
          ". A forked child cannot communicate: fork before init(), or exec a new program.";
      if (refusal_of(call).find(words) != std::string::npos) ++refusals;
    }
    std::exit(refusals == 3 ? 0 : 1);  // with its exit handlers: they must not wait for anybody
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(allreduce(at::ones({2})).sum().item<float>(), 2);
  shutdown();
}

TEST(Process, WritesATimelineWhileItIsOn) {
  const std::string file =
      (std::filesystem::temp_directory_path() / ("hvd-context-" + std::to_string(::getpid()))).string();
  EXPECT_THROW(start_timeline(file), std::logic_error);
  init();
  EXPECT_THROW(start_timeline(file + "/within/a file"), std::invalid_argument);
  start_timeline(file);
  EXPECT_THROW(start_timeline(file), std::invalid_argument);
  EXPECT_EQ(allreduce(at::ones({2}), {.name = "seen"}).sum().item<float>(), 2);
  stop_timeline();
  stop_timeline();  // harmless
  EXPECT_EQ(allreduce(at::ones({2}), {.name = "unseen"}).sum().item<float>(), 2);
  shutdown();
  std::ostringstream content;
  content << std::ifstream(file).rdbuf();
  std::filesystem::remove(file);
  EXPECT_NE(content.str().find("allreduce 'seen'"), std::string::npos) << content.str();
  EXPECT_EQ(content.str().find("allreduce 'unseen'"), std::string::npos) << content.str();
}

TEST(Errors, FollowTheStatus) {
  EXPECT_NO_THROW(throw_if_failed(Status()));
  EXPECT_THROW(throw_if_failed(Status::invalid_argument("x")), std::invalid_argument);
  EXPECT_THROW(throw_if_failed(Status::mismatch("x")), MismatchError);
  EXPECT_THROW(throw_if_failed(Status::aborted("x")), WorldError);
  EXPECT_THROW(throw_if_failed(Status::timed_out("x")), WorldError);
  EXPECT_THROW(throw_if_failed(Status::shut_down("x")), WorldError);
  EXPECT_THROW(throw_if_failed(Status::unavailable("x")), UnavailableError);
  EXPECT_THROW(throw_if_failed(Status::unimplemented("x")), UnavailableError);
  EXPECT_THROW(throw_if_failed(Status::internal("x")), InternalError);
}

TEST(IntegerAverage, RoundsTowardsZeroAndKnowsLargeWorlds) {
  std::int8_t small[] = {-7, 7, -128};
  divide_in_place(small, 3, DataType::int8, 2);
  EXPECT_EQ(small[0], -3);
  EXPECT_EQ(small[1], 3);
  EXPECT_EQ(small[2], -64);
  std::uint8_t byte[] = {255};
  divide_in_place(byte, 1, DataType::uint8, 300);
  EXPECT_EQ(byte[0], 0);
  std::uint64_t large[] = {18446744073709551615U};
  divide_in_place(large, 1, DataType::uint64, 3);
  EXPECT_EQ(large[0], 6148914691236517205U);
  std::int64_t negative[] = {-9};
  divide_in_place(negative, 1, DataType::int64, 2);
  EXPECT_EQ(negative[0], -4);
  EXPECT_FALSE(is_integer(DataType::boolean));
  EXPECT_FALSE(is_integer(DataType::float32));
}

}  // namespace
}  // namespace hvd
