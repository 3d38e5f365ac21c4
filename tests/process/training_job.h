// A job that trains while others do something to it, as a test sees it.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <functional>
#include <string>

#include "horovod_cpp/base/deadline.h"
#include "tests/harness/process_job.h"

namespace hvd {

inline constexpr int kTrainingRanks = 3;

void mark(const std::string& file);
// Looks again and again; false after two minutes.
bool comes(const std::function<bool()>& is_there);
std::string content_of(const std::string& file);
// Of a process's environment.
std::string variable_of(pid_t pid, const std::string& name);
// The job's key, taken from a rank as its own user, or root, can.
std::string key_of(pid_t pid);

struct Training {
  long steps = 0;
  long bits = 0;          // of the model in the end; the same on all ranks
  double longest_ms = 0;  // between the ends of two steps, on any rank
  long slow_steps = 0;    // of more than 10 ms, on the rank that has most
};

// The process case "train", over TCP: averages what looks like gradients, a step a millisecond. The last rank comes when there is a file "go" in
// folder(). Each rank writes a file "trains.RANK" there after its first steps.
class TrainingJob : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;
  const std::string& folder() const { return folder_; }
  // 0 steps: until there is a file "stop" in folder().
  ProcessOptions options(long steps) const;
  bool all_train() const;
  // Of a job that has ended well.
  static Training training_of(const ProcessResult& result);

 private:
  std::string folder_;
};

}  // namespace hvd
