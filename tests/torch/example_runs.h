// Runs the examples as users do: alone, under hvdrun, under mpirun, and reads what they print.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/harness/temp_folder.h"

namespace hvd {

// Where this test, the examples and hvdrun lie.
std::filesystem::path programs();

// What comes before a program on the command line.
inline const std::string kAlone;
inline const std::string kOverSharedMemory = "env HVD_CPU_OPERATIONS=shm ";  // before hvdrun
inline const std::string kMpirun = "env LSAN_OPTIONS=detect_leaks=0 mpirun --oversubscribe -np 2 ";
std::string hvdrun(int ranks);
// False: built or installed without Open MPI.
bool has_mpirun();

struct Outcome {
  int exit_code = -1;          // -1: ended by a signal, or not started
  std::string output;          // both streams
  std::vector<double> losses;  // of each step
};

// A test with a folder of its own, which is removed at the end. Each process computes on one thread.
class ExampleRuns : public testing::Test {
 protected:
  // Whether the example can write the loss of each step.
  virtual bool logs_losses() const { return true; }

  std::string file(const std::string& name) const { return folder_ / name; }

  // Runs an example, by its name. It is ended after 200 seconds.
  Outcome run(const std::string& example, const std::string& launcher, const std::string& options) const;
  // The same, and expects that it succeeds.
  Outcome run_well(const std::string& example, const std::string& launcher, const std::string& options) const;

 private:
  TempFolder folder_;
};

// The largest relative one of a step. As many of both.
double largest_difference(const std::vector<double>& losses, const std::vector<double>& expected);
// `tolerance` is relative.
void expect_same_losses(const std::vector<double>& losses, const std::vector<double>& expected,
                        double tolerance);

// Of the parameters of each rank, from --parameters-digest, in the order of ranks.
std::vector<std::string> digests(const std::string& output);
// … and expects that there are as many as ranks, and all are the same. Returns that one.
std::string digest_of_all(const Outcome& outcome, int ranks);

}  // namespace hvd
