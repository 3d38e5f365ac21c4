// Epochs with ranks as processes, one of which is killed at any moment.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <random>
#include <thread>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/world.h"
#include "tests/harness/process_case.h"
#include "tests/harness/process_job.h"
#include "tests/harness/seed.h"

namespace hvd {
namespace {

constexpr int kBuckets = 5;
constexpr std::size_t kElements = 40'000;

EpochPlan plan() {
  EpochPlan plan;
  for (std::size_t b = 0; b < kBuckets; ++b) {
    plan.buckets.push_back({plan.payload_bytes, kElements, DataType::float32, b, 1});
    plan.payload_bytes += kElements * sizeof(float);
  }
  plan.flags = kBuckets;
  return plan;
}

void write_file(const std::string& name, const std::string& content) {
  std::ofstream(process_folder() + "/" + name) << content;
}

// One epoch; the sum that all hold then, or nothing if it failed.
std::optional<float> do_epoch(Epochs& epochs, float value, std::mt19937_64& random) {
  std::vector<std::size_t> order{0, 1, 2, 3, 4};
  std::shuffle(order.begin(), order.end(), random);
  auto* const values = reinterpret_cast<float*>(epochs.payload());
  for (const std::size_t b : order) {
    std::fill_n(values + b * kElements, kElements, value);
    epochs.own_flags()[b] = std::byte{1};
    epochs.publish(b);
    epochs.help();
  }
  epochs.close({});
  if (epochs.wait(Deadline::never())->state != EpochState::complete) return std::nullopt;
  const float first = values[0];
  return std::all_of(values, values + kBuckets * kElements, [first](float v) { return v == first; }) ? first
                                                                                                     : -1.0F;
}

// Until an epoch fails. Writes down the last one that did not, and why.
HVD_PROCESS_CASE(epochs_for_ever) {
  auto session = open_session();
  if (!session.is_ok()) return 2;
  std::shared_ptr<Epochs> epochs;
  const Work opened =
      (*session)->open_epochs("plan", plan(), 0, [&](auto taken) { epochs = std::move(taken); });
  if (!opened.wait().is_ok()) return 3;
  const int size = (*session)->size();
  std::mt19937_64 random(std::stoull(process_arguments().at(0)) + static_cast<std::uint64_t>(process_rank()));
  for (int epoch = 1;; ++epoch) {
    const auto value = static_cast<float>(epoch % 1000 * (process_rank() + 1));
    const auto sum = do_epoch(*epochs, value, random);
    if (!sum) {
      write_file(text("last.", process_rank()), text(epoch - 1, ' ', epochs->failure().message()));
      return 1;
    }
    const int expected = epoch % 1000 * size * (size + 1) / 2;
    if (*sum != static_cast<float>(expected)) {
      write_file(text("last.", process_rank()), text("wrong sum ", *sum, " in epoch ", epoch));
      return 4;
    }
    if (epoch == 10) process_reached("epochs");
  }
}

// Ends with an error on all survivors after the same epoch, one that names the victim.
TEST(EpochProcesses, SurvivorsOfAKilledRankEndAfterTheSameEpoch) {
  for_each_seed(5, 300, [](std::uint64_t seed) {
    const int victim = static_cast<int>(seed % 3);
    ProcessOptions options;
    options.case_arguments = {std::to_string(seed)};
    ProcessJob job(3, "epochs_for_ever", options);
    ASSERT_TRUE(job.wait_until_reached(victim, "epochs").is_ok());
    std::this_thread::sleep_for(std::chrono::microseconds(seed / 3 % 3000));
    ASSERT_TRUE(job.kill_rank(victim, SIGKILL).is_ok());
    const ProcessResult result = job.finish();
    EXPECT_FALSE(result.timed_out) << result.describe();
    EXPECT_TRUE(result.leftovers.empty()) << result.describe();
    std::vector<std::string> told;
    for (const auto& [name, content] : result.files) {
      if (name.rfind("last.", 0) == 0) told.push_back(content);
    }
    ASSERT_EQ(told.size(), 2U) << result.describe();
    EXPECT_EQ(told[0].substr(0, told[0].find(' ')), told[1].substr(0, told[1].find(' ')))
        << result.describe();
    for (const std::string& one : told) {
      EXPECT_NE(one.find("rank " + std::to_string(victim)), std::string::npos) << one;
    }
  });
}

}  // namespace
}  // namespace hvd
