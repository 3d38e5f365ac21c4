// What every implementation of the Collectives port must do. To check one more, add the suite's sources
// (HVD_COLLECTIVES_SUITE in CMakeLists.txt) to a program and write
//
//   INSTANTIATE_TEST_SUITE_P(Mine, CollectivesSuite, testing::Values(my_world()), name_of_world);
//
// Operations that supports() denies for float32 (or a type) are left out.
//
// The same cases run with ranks as threads (run() starts them) and with ranks as processes (run() calls the
// body once, for this process's rank; n is then fixed).
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "horovod_cpp/ports/collectives.h"

namespace hvd {

// Memory of the device that the implementation reduces on. The suite prepares and checks values on the host.
class SuiteMemory {
 public:
  virtual ~SuiteMemory() = default;
  // At least one byte more than `bytes`, so that nothing is nullptr; contents do not matter.
  virtual std::shared_ptr<void> allocate(std::size_t bytes) = 0;
  virtual void write(void* device, const void* host, std::size_t bytes) = 0;
  // After everything that was enqueued.
  virtual void read(void* host, const void* device, std::size_t bytes) = 0;
};
std::shared_ptr<SuiteMemory> host_suite_memory();

struct CollectivesWorld {
  std::string name;        // letters, digits, underscores
  std::vector<int> sizes;  // numbers of ranks to run with
  // Calls body(collectives, rank) for the ranks of a new world of n (of the
  // one world, where ranks are processes), and returns when all have ended.
  // Whatever the suite breaks (abort, deadline) is broken in that world only.
  std::function<void(int n, const std::function<void(Collectives& collectives, int rank)>& body)> run;

  bool ranks_are_threads = true;
  // Adds in the order of ranks: the reference's bits for all values.
  // Otherwise only for values where every order is exact: all integers, and small floats.
  bool in_rank_order = true;
  // Whether a world may be broken: an implementation whose worlds are processes has its own cases for that.
  bool may_break = true;
  // Whether only sums take a scale.
  bool scales_sums_only = false;
  // Whether to try counts beyond 2^24 (with HVD_TEST_ROUNDS=full: 2^31) elements, in host memory with two ranks.
  bool takes_huge_counts = false;
  std::shared_ptr<SuiteMemory> memory = host_suite_memory();
};

// In messages.
inline void PrintTo(const CollectivesWorld& world, std::ostream* out) { *out << world.name; }

class CollectivesSuite : public testing::TestWithParam<CollectivesWorld> {};

inline std::string name_of_world(const testing::TestParamInfo<CollectivesWorld>& info) {
  return info.param.name;
}

}  // namespace hvd
