// The ring of events, and the lines that become of them.
#include "horovod_cpp/coordinator/flight_recorder.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/coordinator/timeline_lines.h"

namespace hvd {
namespace {

TEST(FlightRecorder, KeepsTheLastThousandOperations) {
  constexpr std::array kPhases{Happening::submitted, Happening::announced, Happening::begun,
                               Happening::ended};
  FlightRecorder recorder(std::make_shared<SteadyClock>());
  const std::uint32_t operations = 100'000;
  for (std::uint32_t i = 0; i < operations; ++i) {
    for (const auto what : kPhases) recorder.record(what, i, i + 1);
  }
  const auto last = recorder.last(4000);
  ASSERT_EQ(last.size(), 4000U);
  for (std::uint32_t i = 0; i < 4000; ++i) {
    EXPECT_EQ(last[i].subject, operations - 1000 + i / 4);
    EXPECT_EQ(last[i].number, last[i].subject + 1);
    EXPECT_EQ(last[i].what, kPhases.at(i % 4));
  }
}

TEST(FlightRecorder, CountsWhatAReaderHasMissed) {
  FlightRecorder recorder(std::make_shared<SteadyClock>());
  for (std::uint32_t i = 0; i < FlightRecorder::kCapacity + 7; ++i) recorder.record(Happening::submitted, i);
  const auto first = recorder.read(0);
  EXPECT_EQ(first.lost, 7U);
  ASSERT_EQ(first.events.size(), FlightRecorder::kCapacity);
  EXPECT_EQ(first.events.front().subject, 7U);
  EXPECT_EQ(recorder.read(first.next).events.size(), 0U);
  recorder.record(Happening::step, 0, 3);
  const auto second = recorder.read(first.next);
  EXPECT_EQ(second.lost, 0U);
  ASSERT_EQ(second.events.size(), 1U);
  EXPECT_EQ(second.events.front().what, Happening::step);
}

// Each event that a reader gets is one that was recorded, however many threads write while it reads.
TEST(FlightRecorder, IsReadWhileThreadsRecord) {
  FlightRecorder recorder(std::make_shared<SteadyClock>());
  constexpr std::uint32_t kThreads = 3;
  constexpr std::uint32_t kEvents = 20'000;
  std::atomic<std::uint32_t> running{kThreads};
  std::vector<std::thread> threads;
  for (std::uint32_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&recorder, &running, thread] {
      for (std::uint32_t i = 0; i < kEvents; ++i) recorder.record(Happening::submitted, thread, i);
      --running;
    });
  }
  std::uint64_t next = 0;
  std::uint64_t seen = 0;
  std::vector<std::uint32_t> expected(kThreads, 0);
  for (bool is_last = false; !is_last;) {
    is_last = running == 0;
    const auto reading = recorder.read(next);
    next = reading.next;
    seen += reading.events.size() + reading.lost;
    for (const RecordedEvent& event : reading.events) {
      ASSERT_LT(event.subject, kThreads);
      ASSERT_GE(event.number, expected[event.subject]) << "events of one thread are in order";
      expected[event.subject] = event.number + 1;
    }
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(seen, std::uint64_t{kThreads} * kEvents);
}

TEST(FlightRecorder, NamesBucketsByWhatTheyHold) {
  FlightRecorder recorder(std::make_shared<SteadyClock>());
  EXPECT_EQ(recorder.add_plan("gradients", {{"a"}, {"b", "c", "d"}}), 0U);
  EXPECT_EQ(recorder.add_plan("gradients of optimizer 1", {}), 1U);
  EXPECT_EQ(recorder.bucket_name(FlightRecorder::bucket_subject(0, 1)), "bucket 1: b and 2 more");
  EXPECT_EQ(recorder.bucket_contents(FlightRecorder::bucket_subject(0, 1)), "b, c, d");
  EXPECT_EQ(recorder.bucket_name(FlightRecorder::bucket_subject(1, 4)), "bucket 4");
  EXPECT_EQ(recorder.plan_name(FlightRecorder::bucket_subject(1, 4)), "gradients of optimizer 1");
}

// --- lines ---

class Lines : public testing::Test {
 protected:
  std::string append(Happening what, std::uint32_t subject, std::uint32_t number = 0) {
    clock_ += std::chrono::nanoseconds(1'001'001);
    std::string out;
    lines_.append({Clock::time_point(clock_), what, subject, number}, out);
    return out;
  }
  std::chrono::nanoseconds clock_{5'000'000};
  TimelineLines lines_{3,
                       std::chrono::nanoseconds(5'000'000),
                       false,
                       {[](const RecordedEvent& event) { return text("x", event.subject); },
                        [](const RecordedEvent& event) {
                          return event.what == Happening::published ? std::string("\"a\", b") : "";
                        }}};
};

TEST_F(Lines, AnOperationIsASliceWithTwoParts) {
  EXPECT_EQ(
      append(Happening::submitted, 7),
      R"({"ph":"b","cat":"operation","pid":3,"tid":0,"id2":{"local":"o7"},"ts":1001.001,"name":"x7"},)"
      "\n"
      R"({"ph":"b","cat":"operation","pid":3,"tid":0,"id2":{"local":"o7"},"ts":1001.001,"name":"waiting"},)"
      "\n");
  const std::string begun = append(Happening::begun, 7, 2);
  EXPECT_NE(begun.find(R"("name":"waiting","args":{"waited_for_rank":1}})"), std::string::npos) << begun;
  EXPECT_NE(begun.find(R"("name":"reducing")"), std::string::npos) << begun;
  const std::string ended = append(Happening::ended, 7);
  EXPECT_EQ(ended.find(R"({"ph":"e")"), 0U) << ended;
  EXPECT_NE(ended.find(R"("name":"x7"})"), std::string::npos) << ended;
}

TEST_F(Lines, WhatBeganBeforeTheTimelineLeavesNoEnds) {
  EXPECT_EQ(append(Happening::begun, 1), "");
  EXPECT_EQ(append(Happening::ended, 1), "");
  EXPECT_EQ(append(Happening::decided, 1), "");
}

TEST_F(Lines, TheOutcomeOfAnEpochEndsItsBuckets) {
  const std::uint32_t bucket = FlightRecorder::bucket_subject(1, 2);
  const std::uint32_t other_plan = FlightRecorder::bucket_subject(2, 0);
  append(Happening::published, bucket);
  append(Happening::published, other_plan);
  append(Happening::closed, FlightRecorder::bucket_subject(1, 0));
  const std::string decided = append(Happening::decided, FlightRecorder::bucket_subject(1, 0), 1);
  EXPECT_NE(decided.find(text("\"x", bucket, "\"")), std::string::npos) << decided;
  EXPECT_EQ(decided.find(text("\"x", other_plan, "\"")), std::string::npos) << decided;
  EXPECT_NE(decided.find(R"("outcome":"complete")"), std::string::npos) << decided;
}

TEST_F(Lines, WhatABucketHoldsIsSaidOnce) {
  EXPECT_NE(append(Happening::published, 4).find(R"("args":{"holds":"\"a\", b"}})"), std::string::npos);
  append(Happening::reduced, 4);
  EXPECT_EQ(append(Happening::published, 4).find("holds"), std::string::npos);
}

TEST_F(Lines, RoundsAreShownIfAskedFor) { EXPECT_EQ(append(Happening::round, 0), ""); }

TEST(JsonEscaped, IsValidWhateverComesIn) {
  EXPECT_EQ(json_escaped("a\"b\\c\n\x01"), "a\\\"b\\\\c\\u000a\\u0001");
  EXPECT_EQ(json_escaped("grün ✓ 🙂"), "grün ✓ 🙂");
  EXPECT_EQ(json_escaped("\xff\xc3"), "\\ufffd\\ufffd");
  EXPECT_EQ(json_escaped("\xed\xa0\x80"), "\\ufffd\\ufffd\\ufffd") << "a surrogate";
  EXPECT_EQ(json_escaped("\xc0\x80"), "\\ufffd\\ufffd") << "too long a form";
}

}  // namespace
}  // namespace hvd
