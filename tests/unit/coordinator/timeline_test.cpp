// The file of a rank's timeline: valid JSON at any time, bounded, and what can be saved of it if it was cut.
#include "horovod_cpp/coordinator/timeline.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "horovod_cpp/base/text.h"
#include "launcher/timeline_merge.h"
#include "tests/harness/temp_folder.h"

namespace hvd {
namespace {

class TimelineFile : public testing::Test {
 protected:
  std::string file() const { return folder_ / "trace"; }
  std::string content(int rank) const {
    std::ostringstream out;
    out << std::ifstream(timeline_part(file(), rank, 2)).rdbuf();
    return out.str();
  }
  void write_part(int rank, const std::string& content) const {
    std::ofstream(timeline_part(file(), rank, 2)) << content;
  }
  nlohmann::json merged() const { return nlohmann::json::parse(std::ifstream(file())); }

  TempFolder folder_;
  FlightRecorder recorder_{std::make_shared<SteadyClock>()};
  Timeline timeline_{1,
                     2,
                     recorder_,
                     Log(LogLevel::off, 1),
                     {[](const RecordedEvent& event) { return text("tensor \"", event.subject, "\"\n"); },
                      [](const RecordedEvent&) { return std::string(); }}};
};

TEST_F(TimelineFile, IsValidAfterEachFlush) {
  recorder_.record(Happening::submitted, 0);
  ASSERT_TRUE(timeline_.start({file(), false, 1U << 20U, {}}).is_ok());
  EXPECT_EQ(nlohmann::json::parse(content(1)).size(), 3U) << "what was before does not belong to it";
  for (std::uint32_t i = 1; i < 20; ++i) {
    recorder_.record(Happening::submitted, i);
    timeline_.flush();
    EXPECT_EQ(nlohmann::json::parse(content(1)).size(), 3U + 2 * i);
  }
  recorder_.record(Happening::ended, 1);
  timeline_.stop();
  const auto events = nlohmann::json::parse(content(1));
  EXPECT_EQ(events.size(), 3U + 4 * 19) << "what is open when it stops ends there";
  recorder_.record(Happening::submitted, 50);
  timeline_.flush();
  EXPECT_EQ(nlohmann::json::parse(content(1)), events) << "it is over";
}

TEST_F(TimelineFile, IsBoundedAndSaysSo) {
  constexpr std::size_t kMost = 8192;
  ASSERT_TRUE(timeline_.start({file(), false, kMost, {}}).is_ok());
  for (std::uint32_t i = 0; i < 1000; ++i) recorder_.record(Happening::submitted, i);
  timeline_.flush();
  EXPECT_FALSE(timeline_.is_on());
  EXPECT_LT(content(1).size(), kMost + 1024);
  const auto events = nlohmann::json::parse(content(1));
  EXPECT_NE(events.back().at("name").get<std::string>().find("HVD_TIMELINE_MAX_MB"), std::string::npos);
  EXPECT_TRUE(timeline_.start({file(), false, kMost, {}}).is_ok()) << "it may be started again";
}

// A write beyond ulimit -f would raise SIGXFSZ, which ends a program.
TEST_F(TimelineFile, EndsAtTheLimitOfFilesWithoutASignal) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto set_limit = [&](rlim_t bytes) {
    const rlimit limit{bytes, before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  };
  set_limit(10);
  const std::string told = timeline_.start({file(), false, 1U << 20U, {}}).message();
  set_limit(1000);
  ASSERT_TRUE(timeline_.start({file(), false, 1U << 20U, {}}).is_ok());
  for (std::uint32_t i = 0; i < 50; ++i) {
    recorder_.record(Happening::submitted, i);
    timeline_.flush();
  }
  set_limit(before.rlim_cur);
  EXPECT_NE(told.find("the timeline cannot be written to "), std::string::npos) << told;
  EXPECT_NE(
      told.find(
          "File too large (this process may have 10 bytes in a file or shared memory; raise ulimit -f)"),
      std::string::npos)
      << told;
  EXPECT_LE(content(1).size(), 1000U);
  EXPECT_GT(nlohmann::json::parse(content(1)).size(), 4U) << "what there was room for is valid";
}

TEST_F(TimelineFile, ShowsTimesOfRank0sClock) {
  const std::chrono::nanoseconds ahead = std::chrono::hours(-100);
  ASSERT_TRUE(timeline_.start({file(), false, 1U << 20U, ahead}).is_ok());
  const auto before = recorder_.now();
  recorder_.record(Happening::step, 0, 1);
  const auto after = recorder_.now();
  timeline_.stop();
  const double shown = nlohmann::json::parse(content(1)).back().at("ts");
  const auto microseconds = [&](Clock::time_point when) {
    return std::chrono::duration<double, std::micro>(when.time_since_epoch() - ahead).count();
  };
  EXPECT_GE(shown, microseconds(before) - 1);
  EXPECT_LE(shown, microseconds(after) + 1);
}

TEST_F(TimelineFile, GoesOnAfterAnEarlierSession) {
  ASSERT_TRUE(timeline_.start({file(), false, 1U << 20U, {}}).is_ok());
  recorder_.record(Happening::submitted, 1);
  timeline_.stop();
  const std::size_t before = nlohmann::json::parse(content(1)).size();
  ASSERT_TRUE(timeline_.start({file(), false, 1U << 20U, {}, true}).is_ok());
  timeline_.note("from here on rank 0 of 1");
  recorder_.record(Happening::ended, 1);
  recorder_.record(Happening::submitted, 2);
  timeline_.stop();
  const auto events = nlohmann::json::parse(content(1));
  ASSERT_GT(events.size(), before + 1);
  EXPECT_EQ(events.at(before).at("name"), "from here on rank 0 of 1");
}

TEST_F(TimelineFile, BeginsAnewWhereThereIsNothingWholeToGoOnFrom) {
  for (const char* const earlier : {"", "[", "[\n{\"cut", "\n]\n"}) {
    write_part(1, earlier);
    ASSERT_TRUE(timeline_.start({file(), false, 1U << 20U, {}, true}).is_ok());
    timeline_.stop();
    EXPECT_EQ(nlohmann::json::parse(content(1)).at(0).at("name"), "process_name") << earlier;
  }
}

TEST_F(TimelineFile, IsSavedWhereverItWasCut) {
  ASSERT_TRUE(timeline_.start({file(), false, 1U << 20U, {}}).is_ok());
  for (std::uint32_t i = 0; i < 4; ++i) recorder_.record(Happening::submitted, i);
  timeline_.stop();
  const std::string whole = content(1);
  std::size_t most = 0;
  for (std::size_t length = 0; length <= whole.size(); ++length) {
    write_part(0, whole);
    write_part(1, whole.substr(0, length));
    ASSERT_TRUE(launcher::merge_timeline(file(), 2).is_ok());
    const auto events = merged();
    EXPECT_GE(events.size(), std::max(most, std::size_t{19})) << length;
    most = events.size();
    EXPECT_FALSE(std::filesystem::exists(timeline_part(file(), 1, 2)));
  }
  EXPECT_EQ(most, 38U);
}

// A write that was cut in the middle leaves its beginning over the old closing bracket.
TEST_F(TimelineFile, IsSavedIfAWriteOverItsEndWasCut) {
  const std::string old = "[\n{\"ph\":\"M\"}\n]\n";
  const std::string addition = ",\n{\"ph\":\"i\"}\n]\n";
  for (std::size_t length = 0; length <= addition.size(); ++length) {
    std::string content = old;
    content.replace(old.size() - 3, std::min<std::size_t>(3, length), addition.substr(0, length));
    write_part(0, content);
    write_part(1, old);
    ASSERT_TRUE(launcher::merge_timeline(file(), 2).is_ok());
    EXPECT_GE(merged().size(), 2U) << content;
  }
}

TEST_F(TimelineFile, OfARankThatWroteNoneIsMissed) {
  write_part(0, "[\n{\"ph\":\"M\"}\n]\n");
  const Status status = launcher::merge_timeline(file(), 2);
  EXPECT_NE(status.message().find("lacks ranks that wrote no timeline: 1"), std::string::npos)
      << status.message();
  EXPECT_EQ(merged().size(), 1U);
  EXPECT_EQ(launcher::merge_timeline(folder_ / "none", 2).code(), StatusCode::unavailable);
}

TEST_F(TimelineFile, ThatCannotBeWrittenIsAnError) {
  const Status status = timeline_.start({folder_ / "no/folder", false, 1U << 20U, {}});
  EXPECT_EQ(status.code(), StatusCode::invalid_argument);
  EXPECT_NE(status.message().find("No such file or directory"), std::string::npos) << status.message();
  EXPECT_FALSE(timeline_.is_on());
}

}  // namespace
}  // namespace hvd
