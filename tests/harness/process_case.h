// Bodies of ranks that run as processes: what a test program
// becomes when run_processes starts it again under a launcher.
//
//   HVD_PROCESS_CASE(sums_agree) {
//     const int rank = process_rank();
//     ...
//     process_reached("the sum");
//     return failed ? 1 : 0;  // the process's exit code; ASSERT_* and EXPECT_* do not work in a case
//   }
//   TEST(Processes, SumsAgree) {
//     const ProcessResult result = run_processes(3, "sums_agree");
//     EXPECT_TRUE(result.is_clean()) << result.describe();
//   }
//
// The program takes its main from hvd_harness_main instead of GTest::gtest_main.
#pragma once

#include <string>
#include <vector>

namespace hvd {

using ProcessCase = int();

// Returns a value so that a global's initialiser can call it. The last one of a name wins.
bool register_process_case(const char* name, ProcessCase* body);

// In a case: this process's rank as its launcher (hvdrun, mpirun) set it.
int process_rank();
int process_size();
// In a case: tells the test that this rank has come this far (see ProcessJob::wait_until_reached). `point` is
// a plain word or sentence without a slash.
void process_reached(const std::string& point);
// In a case: a folder of the job, for files the test reads
// afterwards (ProcessResult::files) or between ranks.
std::string process_folder();
// In a case: ProcessOptions::case_arguments.
const std::vector<std::string>& process_arguments();

// What main does: runs the case that the arguments name, or else all gtest cases.
int run_test_program(int argc, char** argv);

}  // namespace hvd

#define HVD_PROCESS_CASE(name)                                       \
  static int hvd_process_case_##name();                              \
  [[maybe_unused]] static const bool hvd_registered_case_##name =    \
      ::hvd::register_process_case(#name, &hvd_process_case_##name); \
  static int hvd_process_case_##name()
