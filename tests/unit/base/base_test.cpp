#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <thread>

#include "horovod_cpp/base/abort_latch.h"
#include "horovod_cpp/base/config.h"
#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/futex.h"
#include "horovod_cpp/base/queue.h"
#include "horovod_cpp/base/types.h"
#include "horovod_cpp/base/wire.h"

namespace hvd {
namespace {

EnvironmentLookup from(std::map<std::string, std::string> variables) {
  return [variables = std::move(variables)](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  };
}

TEST(Config, DefaultsAndBothPrefixes) {
  EXPECT_EQ(Config::from(from({})).value().fusion_threshold_bytes, std::size_t{128} << 20);
  EXPECT_EQ(Config::from(from({{"HOROVOD_FUSION_THRESHOLD", "1024"}})).value().fusion_threshold_bytes, 1024U);
  EXPECT_EQ(Config::from(from({{"HOROVOD_FUSION_THRESHOLD", "1024"}, {"HVD_FUSION_THRESHOLD", "7"}}))
                .value()
                .fusion_threshold_bytes,
            7U);
  EXPECT_EQ(Config::from(from({{"HOROVOD_STALL_CHECK_DISABLE", "1"}})).value().stall_warning.count(), 0);
  EXPECT_EQ(Config::from(from({})).value().heartbeat_timeout.count(), 30);
  EXPECT_EQ(Config::from(from({{"HVD_HEARTBEAT_TIMEOUT_SECONDS", "0"}})).value().heartbeat_timeout.count(),
            0);
}

TEST(Config, BadValuesNameTheVariableAndTheRemedy) {
  EXPECT_EQ(Config::from(from({{"HVD_START_TIMEOUT", "soon"}})).status().message(),
            "HVD_START_TIMEOUT='soon': expected a whole number from 1 to 2147483647");
  EXPECT_EQ(Config::from(from({{"HVD_CONTROL", "pigeon"}})).status().message(),
            "HVD_CONTROL='pigeon': expected one of auto, shm, tcp, mpi");
  EXPECT_EQ(Config::from(from({{"HVD_CPU_OPERATIONS", "gloo"}})).status().message(),
            "HVD_CPU_OPERATIONS='gloo': expected one of auto, shm, ring, mpi");
  EXPECT_EQ(Config::from(from({{"HOROVOD_LOG_LEVEL", "loud"}})).status().message(),
            "HOROVOD_LOG_LEVEL='loud': expected one of trace, debug, info, warning, error, fatal, off");
  EXPECT_EQ(Config::from(from({{"HVD_LOG_LEVEL", "DEBUG"}})).value().log_level, LogLevel::debug);
  EXPECT_EQ(Config::from(from({{"HVD_STATIC_PLAN", "2"}})).status().message(),
            "HVD_STATIC_PLAN='2': expected a whole number from 0 to 1");
  EXPECT_TRUE(Config::from(from({{"HVD_ENCRYPT", "1"}})).value().encrypt);
  EXPECT_FALSE(Config::from(from({{"HVD_ENCRYPT", "yes"}})).is_ok());
  EXPECT_FALSE(Config::from(from({{"HVD_FUSION_THRESHOLD", "12MB"}})).is_ok());
  EXPECT_FALSE(Config::from(from({{"HVD_FUSION_THRESHOLD", "-1"}})).is_ok());
  EXPECT_FALSE(Config::from(from({{"HVD_FUSION_THRESHOLD", ""}})).is_ok());
}

TEST(Types, EveryTypeHasASizeAndAName) {
  for (int i = 0; i < kDataTypeCount; ++i) {
    const auto dtype = static_cast<DataType>(i);
    EXPECT_GT(size_in_bytes(dtype), 0U);
    EXPECT_STRNE(name_of(dtype), "");
  }
  EXPECT_EQ(element_count({}), 1);
  EXPECT_EQ(element_count({3, 0}), 0);
  EXPECT_EQ(name_of(Shape{2, 3}), "[2, 3]");
}

TEST(Wire, ReadsWhatWasWrittenAndNothingMore) {
  ByteWriter out;
  out.put(std::uint16_t{513});
  out.put_text("words");
  const Bytes bytes = out.take();
  ByteReader in(bytes);
  EXPECT_EQ(in.get<std::uint16_t>(), 513);
  EXPECT_EQ(in.get_text(), "words");
  EXPECT_FALSE(in.failed());
  EXPECT_EQ(in.get<std::uint32_t>(), 0U);
  EXPECT_TRUE(in.failed());
}

TEST(Wire, AGiantLengthIsNotBelieved) {
  ByteWriter out;
  out.put(std::uint32_t{0xFFFF'FFFF});
  ByteReader in(out.bytes());
  EXPECT_TRUE(in.get_bytes().empty());
  EXPECT_TRUE(in.failed());
}

TEST(AbortLatch, KeepsTheFirstReason) {
  AbortLatch latch;
  EXPECT_TRUE(latch.status().is_ok());
  EXPECT_TRUE(latch.set(Status::aborted("first")));
  EXPECT_FALSE(latch.set(Status::aborted("second")));
  EXPECT_EQ(latch.status().message(), "first");
}

TEST(Queue, ClosedQueueRefusesAndReturnsTheRest) {
  Queue<int> queue;
  int item = 1;
  EXPECT_TRUE(queue.put(item));
  EXPECT_EQ(queue.take_all(), std::vector<int>{1});
  item = 2;
  EXPECT_TRUE(queue.put(item));
  EXPECT_EQ(queue.close(), std::vector<int>{2});
  EXPECT_FALSE(queue.put(item));
}

TEST(Futex, WakesSleepersAndHonoursTheDeadline) {
  std::atomic<std::uint32_t> word{0};
  futex_wait(word, 0, Deadline::after(std::chrono::milliseconds(1)));
  std::thread sleeper([&] {
    while (word.load() == 0) futex_wait(word, 0, Deadline::never());
  });
  word.store(1);
  futex_wake_all(word);
  sleeper.join();
}

TEST(Deadline, NeverIsNever) {
  EXPECT_FALSE(Deadline::never().passed());
  EXPECT_EQ(Deadline::never().poll_timeout_ms(), -1);
  EXPECT_TRUE(Deadline::after(Deadline::Clock::duration::max()).is_never());
  EXPECT_TRUE(Deadline::after(std::chrono::nanoseconds(-1)).passed());
  EXPECT_EQ(Deadline::after(std::chrono::nanoseconds(-1)).poll_timeout_ms(), 0);
}

}  // namespace
}  // namespace hvd
