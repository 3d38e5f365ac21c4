// What people see of a running job: the timeline, and the answer to "what are the ranks doing?".
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/world.h"
#include "tests/harness/process_case.h"
#include "tests/harness/process_job.h"
#include "tests/harness/temp_folder.h"
#include "tests/process/launcher_job.h"
#include "tests/ranks/session_calls.h"

namespace hvd {
namespace {

int fail(const Status& status) {
  std::fprintf(stderr, "case failed on rank %d: %s\n", process_rank(), status.message().c_str());
  return 1;
}

Declaration layer(int number) {
  return float_tensor(OpKind::allreduce, text("layer", number, ".weight"), {8});
}

Status train(Session& session) {
  std::vector<float> data(8, 1.0F);
  for (int step = 0; step < 3; ++step) {
    for (int i = 0; i < 4; ++i) HVD_RETURN_IF_ERROR(submit(session, layer(i), data.data()).wait(soon()));
    session.mark_step();
  }
  EpochPlan plan;
  plan.buckets = {{0, 16, DataType::float32, 0, 1}};
  plan.payload_bytes = 64;
  plan.flags = 1;
  plan.contents = {{"head.bias", "head.\"weight\""}};
  std::shared_ptr<Epochs> epochs;
  HVD_RETURN_IF_ERROR(
      session.open_epochs("gradients", plan, 0, [&](auto taken) { epochs = std::move(taken); }).wait(soon()));
  for (int epoch = 0; epoch < 3; ++epoch) {
    epochs->publish(0);
    epochs->close({});
    if (!epochs->wait(soon())) return Status::timed_out("an epoch");
  }
  return {};
}

HVD_PROCESS_CASE(a_short_training) {
  auto session = open_session();
  if (!session.is_ok()) return fail(session.status());
  if (const Status status = train(**session); !status.is_ok()) return fail(status);
  if (!process_arguments().empty() && process_rank() == 1) std::abort();
  const Status status = (*session)->shutdown(soon());
  return status.is_ok() || !process_arguments().empty() ? 0 : fail(status);
}

// Rank 0 dies, the others go on, under other numbers.
HVD_PROCESS_CASE(a_training_that_loses_rank_0) {
  {
    auto session = open_session();
    if (!session.is_ok()) return fail(session.status());
    if (const Status status = train(**session); !status.is_ok()) return fail(status);
    if (process_rank() == 0) std::abort();
    while ((*session)->status().is_ok()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  auto session = open_session_of_survivors(process_environment());
  if (!session.is_ok()) return fail(session.status());
  if (const Status status = train(**session); !status.is_ok()) return fail(status);
  const Status status = (*session)->shutdown(soon());
  return status.is_ok() ? 0 : fail(status);
}

HVD_PROCESS_CASE(a_timeline_of_a_part) {
  auto session = open_session();
  if (!session.is_ok()) return fail(session.status());
  float value = 1.0F;
  const auto once = [&](const char* name) {
    return submit(**session, float_tensor(OpKind::allreduce, name, {1}), &value).wait(soon());
  };
  const std::string file = process_arguments().at(0);
  if (const Status status = once("before"); !status.is_ok()) return fail(status);
  if (const Status status = (*session)->start_timeline(file, true); !status.is_ok()) return fail(status);
  if ((*session)->start_timeline(file).code() != StatusCode::invalid_argument) return 3;
  if (const Status status = once("within"); !status.is_ok()) return fail(status);
  (*session)->stop_timeline();
  if (const Status status = once("after"); !status.is_ok()) return fail(status);
  const Status status = (*session)->shutdown(soon());
  return status.is_ok() ? 0 : fail(status);
}

// Rank 1 never submits what the others wait for.
HVD_PROCESS_CASE(rank_1_holds_back) {
  auto session = open_session();
  if (!session.is_ok()) return fail(session.status());
  float value = 1.0F;
  const auto once = [&](const char* name) {
    return submit(**session, float_tensor(OpKind::allreduce, name, {1}), &value);
  };
  if (const Status status = once("value").wait(soon()); !status.is_ok()) return fail(status);
  (*session)->mark_step();
  if (process_rank() == 1) {
    std::printf("held by %d\n", ::getpid());
    std::fflush(stdout);
    while (true) ::pause();
  }
  const Work held = once("held.weight");
  std::printf("waiting: %d\n", ::getpid());
  std::fflush(stdout);
  // In short waits: ThreadSanitizer runs the handler of a signal only when this thread calls something.
  Status status;
  do {
    status = held.wait(Deadline::after(std::chrono::milliseconds(50)));
  } while (status.code() == StatusCode::timed_out && !held.done());
  return fail(status);
}

std::vector<std::string> ranks_of(const char* case_name, std::vector<std::string> options = {}) {
  std::vector<std::string> arguments{"-np", "3", "--failure-grace", "20"};
  arguments.insert(arguments.end(), options.begin(), options.end());
  arguments.insert(arguments.end(),
                   {std::filesystem::read_symlink("/proc/self/exe").string(), kCaseArgument, case_name});
  return arguments;
}

// A job of which rank 1 holds back, and the others have submitted something.
class HeldJob : public testing::Test {
 protected:
  void SetUp() override { start({}); }
  void start(const LauncherJobOptions& options) {
    job_ = std::make_unique<LauncherJob>(ranks_of("rank_1_holds_back"), options);
    ASSERT_TRUE(job_->wait_for("held by ")) << job_->both();
    ASSERT_TRUE(job_->wait_for("waiting: ", 2)) << job_->both();
  }
  pid_t process_of(const std::string& prefix) const {
    const std::string& out = job_->out();
    return static_cast<pid_t>(std::stol(out.substr(out.find(prefix) + prefix.size())));
  }
  std::size_t blocks() const {
    std::size_t count = 0;
    const std::string words = "what the ranks are doing";
    for (std::size_t at = job_->err().find(words); at != std::string::npos;
         at = job_->err().find(words, at + 1))
      ++count;
    return count;
  }

  std::unique_ptr<LauncherJob> job_;
};

constexpr const char* kSentence = "rank 1 has not submitted allreduce 'held.weight' for ";
constexpr const char* kWaiters = "; ranks 0, 2 wait since step 1";

TEST_F(HeldJob, SaysOnASignalWhoWaitsForWhom) {
  ASSERT_EQ(::kill(job_->pid(), SIGUSR1), 0);
  EXPECT_TRUE(job_->wait_for(kSentence)) << job_->both();
  EXPECT_TRUE(job_->wait_for(kWaiters)) << job_->both();
  EXPECT_TRUE(job_->wait_for("rank 1: step 1 taken, last: ")) << job_->both();
}

TEST_F(HeldJob, SaysItWhenAskedWithDump) {
  LauncherJob wrong({"--dump", std::to_string(::getpid())});
  EXPECT_EQ(wrong.finish(), 1);
  EXPECT_NE(wrong.err().find("no hvdrun of yours runs as process"), std::string::npos) << wrong.both();
  LauncherJob asking({"--dump", std::to_string(job_->pid())});
  EXPECT_EQ(asking.finish(), 0) << asking.both();
  EXPECT_NE(asking.out().find("asked 3 processes"), std::string::npos) << asking.both();
  EXPECT_TRUE(job_->wait_for(kSentence)) << job_->both();
}

TEST_F(HeldJob, NamesARankThatDoesNotAnswer) {
  ASSERT_EQ(::kill(process_of("held by "), SIGSTOP), 0);
  ASSERT_EQ(::kill(job_->pid(), SIGUSR1), 0);
  EXPECT_TRUE(job_->wait_for("rank 1: alive, but has not answered")) << job_->both();
  EXPECT_TRUE(job_->wait_for("whether rank 1 has submitted it is not known")) << job_->both();
}

TEST_F(HeldJob, SaysItOnceWhenARankDies) {
  ASSERT_EQ(::kill(process_of("held by "), SIGKILL), 0);
  EXPECT_NE(job_->finish(), 0);
  EXPECT_EQ(blocks(), 1U) << job_->both();
  EXPECT_NE(job_->err().find("  ranks 0, 2 wait in allreduce 'held.weight' for "), std::string::npos)
      << job_->both();
  EXPECT_NE(job_->err().find("  rank 1: gone"), std::string::npos) << job_->both();
}

class StallingJob : public HeldJob {
 protected:
  void SetUp() override {
    LauncherJobOptions options;
    options.environment = {{"HVD_STALL_CHECK_TIME_SECONDS", "1"}};
    start(options);
  }
};

TEST_F(StallingJob, SaysItWithTheWarning) {
  EXPECT_TRUE(job_->wait_for("what the ranks are doing (an operation is late)")) << job_->both();
  EXPECT_TRUE(job_->wait_for(kSentence)) << job_->both();
}

// --- the timeline ---

class TimelineFiles : public testing::Test {
 protected:
  std::string file() const { return folder_ / "trace.json"; }
  static nlohmann::json read(const std::string& path) {
    std::ifstream in(path);
    return nlohmann::json::parse(in);
  }
  std::size_t files() const {
    const std::filesystem::directory_iterator all(folder_.path());
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
  }

  TempFolder folder_;
};

std::set<std::string> names_of_rank(const nlohmann::json& events, int rank) {
  std::set<std::string> names;
  for (const auto& event : events) {
    if (event.at("pid") == rank) names.insert(event.at("name").get<std::string>());
  }
  return names;
}

void expect_a_whole_timeline(const nlohmann::json& events) {
  for (int rank = 0; rank < 3; ++rank) {
    const auto names = names_of_rank(events, rank);
    for (const char* name :
         {"process_name", "allreduce 'layer0.weight'", "allreduce 'layer3.weight'",
          "bucket 0: head.bias and 1 more", "gradients", "waiting", "reducing", "step 3"}) {
      EXPECT_TRUE(names.contains(name)) << "rank " << rank << ": " << name;
    }
  }
  EXPECT_NE(events.dump().find(nlohmann::json(R"(head.bias, head."weight")").dump()), std::string::npos);
  // Every slice that ends had begun, and the other way round.
  std::map<std::string, int> open;
  for (const auto& event : events) {
    if (!event.contains("id2")) continue;
    const std::string slice = text(event["pid"], event["id2"], event["name"]);
    if (event["ph"] == "b") ++open[slice];
    if (event["ph"] == "e") --open[slice];
  }
  for (const auto& [slice, count] : open) EXPECT_EQ(count, 0) << slice;
}

TEST_F(TimelineFiles, OfAllRanksBecomeOne) {
  ProcessOptions options;
  options.launcher_arguments = {"--timeline-filename", file()};
  const ProcessResult result = run_processes(3, "a_short_training", options);
  EXPECT_TRUE(result.is_clean()) << result.describe();
  EXPECT_EQ(result.err, "");
  EXPECT_EQ(files(), 1U);
  expect_a_whole_timeline(read(file()));
}

TEST_F(TimelineFiles, OfAJobThatFailsBecomeOneToo) {
  ProcessOptions options;
  options.environment = {{"HOROVOD_TIMELINE", file()}};
  options.case_arguments = {"and one aborts"};
  const ProcessResult result = run_processes(3, "a_short_training", options);
  EXPECT_NE(result.exit_code, 0) << result.describe();
  EXPECT_EQ(files(), 1U);
  const nlohmann::json events = read(file());
  for (const int rank : {0, 1, 2}) EXPECT_TRUE(names_of_rank(events, rank).contains("process_name")) << rank;
  for (const int rank : {0, 2}) EXPECT_TRUE(names_of_rank(events, rank).contains("step 3")) << rank;
}

TEST_F(TimelineFiles, GoOnAfterALoss) {
  ProcessOptions options;
  options.launcher_arguments = {"--timeline-filename", file(), "--min-np", "2"};
  const ProcessResult result = run_processes(3, "a_training_that_loses_rank_0", options);
  EXPECT_TRUE(result.is_clean()) << result.describe();
  EXPECT_EQ(files(), 1U);
  const nlohmann::json events = read(file());
  EXPECT_TRUE(names_of_rank(events, 0).contains("process_name")) << "of the lost rank what it had written";
  for (const int number : {1, 2}) {
    const auto names = names_of_rank(events, number);
    EXPECT_TRUE(names.contains(text("from here on rank ", number - 1, " of 2"))) << number;
  }
  const auto steps = std::count_if(events.begin(), events.end(), [](const auto& event) {
    return event.at("name") == "step 3" && event.at("pid") == 2;
  });
  EXPECT_EQ(steps, 2) << "one of each Session";
}

TEST_F(TimelineFiles, CoverWhatTheProgramWants) {
  ProcessOptions options;
  options.case_arguments = {file()};
  const ProcessResult result = run_processes(2, "a_timeline_of_a_part", options);
  EXPECT_TRUE(result.is_clean()) << result.describe();
  for (int rank = 0; rank < 2; ++rank) {
    const auto names = names_of_rank(read(text(file(), ".rank", rank)), rank);
    EXPECT_TRUE(names.contains("allreduce 'within'"));
    EXPECT_TRUE(names.contains("round"));
    EXPECT_FALSE(names.contains("allreduce 'before'"));
    EXPECT_FALSE(names.contains("allreduce 'after'"));
  }
  LauncherJob merge({"--merge-timeline", file()});
  EXPECT_EQ(merge.finish(), 0) << merge.both();
  EXPECT_EQ(files(), 1U);
  EXPECT_TRUE(names_of_rank(read(file()), 1).contains("allreduce 'within'"));
}

TEST_F(TimelineFiles, ThatCannotBeWrittenAreRefused) {
  ProcessOptions options;
  options.launcher_arguments = {"--timeline-filename", folder_ / "no such folder/trace.json"};
  const ProcessResult result = run_processes(2, "a_short_training", options);
  EXPECT_NE(result.exit_code, 0) << result.describe();
  EXPECT_NE(result.err.find("the timeline cannot be written to "), std::string::npos) << result.describe();
}

}  // namespace
}  // namespace hvd
