// Ranks that the system gives too little: descriptors, memory, threads. They go on, or say what they lack, and never hang or die of it.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/world.h"
#include "tests/harness/process_case.h"
#include "tests/harness/process_job.h"
#include "tests/harness/seed.h"

namespace hvd {
namespace {

Deadline soon() { return Deadline::after(std::chrono::minutes(1)); }

int fail(const std::string& why) {
  std::fprintf(stderr, "case failed on rank %d: %s\n", process_rank(), why.c_str());
  return 1;
}

std::size_t mapped_bytes() {
  std::FILE* const file = std::fopen("/proc/self/statm", "re");
  unsigned long pages = 0;
  if (file == nullptr || std::fscanf(file, "%lu", &pages) != 1) pages = 0;
  if (file != nullptr) std::fclose(file);
  return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

// A size that neither fits into one cache nor is a multiple of anything.
std::string average_of_many(Session& session) {
  std::vector<float> values(300'001, static_cast<float>(session.rank()));
  Declaration declaration;
  declaration.name = "values";
  declaration.shape = {static_cast<std::int64_t>(values.size())};
  const auto id = session.declare(declaration);
  if (!id.is_ok()) return id.status().message();
  Submission submission;
  submission.id = id.value();
  submission.input = submission.output = values.data();
  const Status status = session.submit(std::move(submission)).wait(soon());
  if (!status.is_ok()) return status.message();
  const float expected = static_cast<float>(session.size() - 1) / 2.0F;
  return values.front() == expected && values.back() == expected ? "" : "the average is wrong";
}

constexpr uid_t kNobodyElse = 65533;

// Arguments: which rank (-1: all), which limit, how much.
void limit_this_rank() {
  const auto& arguments = process_arguments();
  const int rank = std::atoi(arguments.at(0).c_str());
  if (arguments.at(1) == "RLIMIT_NPROC") [[maybe_unused]]
    const int became = ::setresuid(kNobodyElse, kNobodyElse, kNobodyElse);
  if (rank >= 0 && rank != process_rank()) return;
  const std::string& what = arguments.at(1);
  rlim_t most = std::stoull(arguments.at(2));
  if (what == "RLIMIT_AS") most += mapped_bytes();
  const rlimit limit{most, most};
  ::setrlimit(what == "RLIMIT_NOFILE"  ? RLIMIT_NOFILE
              : what == "RLIMIT_FSIZE" ? RLIMIT_FSIZE
              : what == "RLIMIT_NPROC" ? RLIMIT_NPROC
                                       : RLIMIT_AS,
              &limit);
}

HVD_PROCESS_CASE(average_within_limits) {
  limit_this_rank();
  try {
    auto session = open_session();
    if (!session.is_ok()) return fail(session.status().message());
    if (const std::string wrong = average_of_many(**session); !wrong.empty()) return fail(wrong);
    std::printf("%s\n", (*session)->backends().c_str());
    const Status status = (*session)->shutdown(soon());
    return status.is_ok() ? 0 : fail(status.message());
  } catch (const std::bad_alloc&) {
    return fail("std::bad_alloc");
  }
}

ProcessResult run_within(const std::string& rank, const std::string& what, std::size_t most,
                         std::vector<std::pair<std::string, std::string>> environment = {}) {
  ProcessOptions options;
  options.case_arguments = {rank, what, std::to_string(most)};
  // A rank that waits for one that is gone does not learn more by waiting longer.
  options.launcher_arguments = {"--failure-grace", "0.5"};
  options.environment = std::move(environment);
  ProcessResult result = run_processes(2, "average_within_limits", options);
  EXPECT_FALSE(result.timed_out) << result.describe();
  EXPECT_TRUE(result.leftovers.empty()) << result.describe();
  // No signal of ours, or of the system's: the ranks have said something and left.
  EXPECT_LT(result.exit_code, 126) << what << ' ' << most << '\n' << result.describe();
  return result;
}

bool says(const ProcessResult& result, const std::string& words) {
  return result.err.find(words) != std::string::npos;
}

// Whatever the number, the rank that has too few descriptors says so, or does without.
TEST(DescriptorLimit, IsToldOrDoesNoHarm) {
  int went_well = 0;
  int was_told = 0;
  const std::size_t step = test_rounds(3, 1) == 3 ? 3 : 1;
  for (std::size_t most = 4; most <= 16; most += step) {
    const ProcessResult result = run_within("1", "RLIMIT_NOFILE", most);
    if (result.exit_code == 0) {
      ++went_well;
    } else {
      EXPECT_TRUE(says(result, text("this process may have ", most, " open files; raise ulimit -n)")))
          << most << ": " << result.describe();
      ++was_told;
    }
  }
  EXPECT_GT(went_well, 0);
  EXPECT_GT(was_told, 0);
}

TEST(DescriptorLimit, IsToldOverTcpToo) {
  for (const std::size_t most : {6U, 9U, 24U}) {
    const ProcessResult result =
        run_within("0", "RLIMIT_NOFILE", most, {{"HVD_CONTROL", "tcp"}, {"HVD_CPU_OPERATIONS", "ring"}});
    EXPECT_EQ(result.exit_code == 0, most == 24) << result.describe();
    EXPECT_EQ(says(result, "open files; raise ulimit -n)"), most != 24) << result.describe();
  }
}

// Shared memory counts as a file: without the room for it, the ranks take another way, and nobody gets SIGXFSZ.
TEST(MemoryLimit, OfFilesLeavesSharedMemoryOut) {
  const ProcessResult none = run_within("1", "RLIMIT_FSIZE", 4096);
  EXPECT_EQ(none.exit_code, 0) << none.describe();
  EXPECT_NE(none.out.find("control tcp, cpu ring"), std::string::npos) << none.describe();
  EXPECT_TRUE(says(none, "shared memory cannot be had, and ranks go on more slowly, with tcp and ring"))
      << none.describe();
  EXPECT_TRUE(says(none, "shared memory of rank 1: it cannot allocate")) << none.describe();
  const ProcessResult some = run_within("1", "RLIMIT_FSIZE", 600'000);
  EXPECT_EQ(some.exit_code, 0) << some.describe();
  EXPECT_NE(some.out.find("control shm, cpu ring"), std::string::npos) << some.describe();
}

TEST(MemoryLimit, OfFilesEndsAJobThatInsistsOnSharedMemory) {
  const ProcessResult result = run_within("1", "RLIMIT_FSIZE", 4096, {{"HVD_CONTROL", "shm"}});
  EXPECT_EQ(result.exit_code, 1) << result.describe();
  for (const int rank : {0, 1}) {
    EXPECT_TRUE(says(result, text("case failed on rank ", rank,
                                  ": HVD_CONTROL=shm: rank 0: shared memory of rank 1: it cannot allocate")))
        << result.describe();
  }
}

TEST(MemoryLimit, OfTheAddressSpaceIsToldOrDoesNoHarm) {
#ifdef HVD_TEST_IS_SANITIZED
  GTEST_SKIP() << "a sanitizer needs terabytes of it for itself";
#endif
  for (const std::size_t mebibytes : {0U, 1U, 4U, 16U, 40U}) {
    const ProcessResult result = run_within("1", "RLIMIT_AS", mebibytes << 20U);
    EXPECT_TRUE(result.exit_code == 0 || says(result, "case failed on rank 1: ")) << result.describe();
  }
}

// root may start as many threads as it likes, so all ranks become another user.
TEST(ThreadLimit, IsToldOnEveryRank) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become a user without processes";
  const ProcessResult result = run_within("1", "RLIMIT_NPROC", 0);
  EXPECT_EQ(result.exit_code, 1) << result.describe();
  for (const int rank : {0, 1}) {
    EXPECT_TRUE(says(result, text("case failed on rank ", rank, ": rank 1: a thread cannot be started: ")))
        << result.describe();
  }
}

}  // namespace
}  // namespace hvd
