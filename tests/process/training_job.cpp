#include "tests/process/training_job.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>
#include <vector>

#include "horovod_cpp/base/fingerprint.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/world.h"
#include "tests/harness/process_case.h"

namespace hvd {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

Deadline soon() { return Deadline::after(std::chrono::minutes(2)); }

Status all_reduce(Session& session, const char* name, ReduceOp op, std::vector<float>& values) {
  Declaration declaration;
  declaration.name = name;
  declaration.op = op;
  declaration.shape = {static_cast<std::int64_t>(values.size())};
  const auto id = session.declare(declaration);
  if (!id.is_ok()) return id.status();
  Submission submission;
  submission.id = id.value();
  submission.input = values.data();
  submission.output = values.data();
  return session.submit(std::move(submission)).wait(soon());
}

// Averages what looks like gradients, a step a millisecond, `steps` times, or (0) until there is a file "stop" in `folder`.
Status train(Session& session, long steps, const std::string& folder, std::string& result) {
  std::vector<float> model(1000, 1.0F);
  std::vector<float> gradient(model.size());
  double longest_ms = 0;
  long slow_steps = 0;
  long step = 0;
  for (auto before = Clock::now(); steps == 0 || step < steps; ++step) {
    for (std::size_t i = 0; i < model.size(); ++i) {
      gradient[i] = model[i] / static_cast<float>(1 + (i + static_cast<std::size_t>(step)) % 7 +
                                                  static_cast<std::size_t>(session.rank()));
    }
    HVD_RETURN_IF_ERROR(all_reduce(session, "gradient", ReduceOp::average, gradient));
    for (std::size_t i = 0; i < model.size(); ++i) model[i] += 1.0F - gradient[i];
    std::vector<float> goes_on{session.rank() == 0 && steps == 0 && fs::exists(folder + "/stop") ? 0.0F
                                                                                                 : 1.0F};
    HVD_RETURN_IF_ERROR(all_reduce(session, "goes on", ReduceOp::min, goes_on));
    const auto now = Clock::now();
    const double step_ms = std::chrono::duration<double, std::milli>(now - before).count();
    longest_ms = std::max(longest_ms, step_ms);
    slow_steps += step_ms > 10 ? 1 : 0;
    before = now;
    if (step == 10) mark(text(folder, "/trains.", session.rank()));
    if (goes_on[0] == 0.0F) {
      ++step;
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  Fingerprint bits;
  for (const float value : model) bits.add(std::bit_cast<std::uint32_t>(value));
  result = text(step, ' ', bits.value(), ' ', longest_ms, ' ', slow_steps);
  return {};
}

// Arguments: a folder, and the number of steps. The last rank comes when there is a file "go" in the folder.
HVD_PROCESS_CASE(train) {
  const std::string folder = process_arguments().at(0);
  if (process_rank() == kTrainingRanks - 1 && !comes([&] { return fs::exists(folder + "/go"); })) return 1;
  auto session = open_session();
  std::string result;
  Status status = session.status();
  if (session.is_ok()) status = train(**session, std::stol(process_arguments().at(1)), folder, result);
  if (status.is_ok()) status = (*session)->shutdown(soon());
  if (!status.is_ok()) {
    std::fprintf(stderr, "rank %d: %s\n", process_rank(), status.message().c_str());
    return 1;
  }
  std::ofstream(text(process_folder(), "/result.", process_rank())) << result;
  return 0;
}

}  // namespace

void mark(const std::string& file) { std::ofstream(file) << '\n'; }

bool comes(const std::function<bool()>& is_there) {
  for (const Deadline deadline = soon(); !is_there();
       std::this_thread::sleep_for(std::chrono::milliseconds(2)))
    if (deadline.passed()) return false;
  return true;
}

std::string content_of(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::string variable_of(pid_t pid, const std::string& name) {
  std::istringstream environment(content_of(text("/proc/", pid, "/environ")));
  for (std::string entry; std::getline(environment, entry, '\0');) {
    if (entry.starts_with(name + "=")) return entry.substr(name.size() + 1);
  }
  return "";
}

std::string key_of(pid_t pid) {
  return content_of(text("/proc/", pid, "/fd/", variable_of(pid, "HVD_JOB_KEY_FD")));
}

void TrainingJob::SetUp() {
  std::string name = fs::temp_directory_path() / "hvd-test-training-XXXXXX";
  ASSERT_NE(::mkdtemp(name.data()), nullptr);
  folder_ = name;
}

void TrainingJob::TearDown() {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

ProcessOptions TrainingJob::options(long steps) const {
  ProcessOptions options;
  options.environment = {
      {"HVD_CONTROL", "tcp"}, {"HVD_CPU_OPERATIONS", "ring"}, {"HVD_START_TIMEOUT", "100"}};
  options.case_arguments = {folder_, std::to_string(steps)};
  options.time_limit = std::chrono::seconds(3000);
  return options;
}

bool TrainingJob::all_train() const {
  for (int rank = 0; rank < kTrainingRanks; ++rank) {
    if (!fs::exists(text(folder_, "/trains.", rank))) return false;
  }
  return true;
}

Training TrainingJob::training_of(const ProcessResult& result) {
  Training out;
  for (int rank = 0; rank < kTrainingRanks; ++rank) {
    const auto found = result.files.find(text("result.", rank));
    if (found == result.files.end()) {
      ADD_FAILURE() << "rank " << rank << " has no result";
      return {};
    }
    Training one;
    std::istringstream(found->second) >> one.steps >> one.bits >> one.longest_ms >> one.slow_steps;
    if (rank > 0) {
      EXPECT_EQ(one.bits, out.bits) << "ranks differ";
      EXPECT_EQ(one.steps, out.steps);
    }
    out = {one.steps, one.bits, std::max(out.longest_ms, one.longest_ms),
           std::max(out.slow_steps, one.slow_steps)};
  }
  return out;
}

}  // namespace hvd
