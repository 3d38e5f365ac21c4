// What one rank of a random world does until it ends: operations of every kind in process sets that come and go, and epochs. All ranks draw
// the same from one seed.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "horovod_cpp/session.h"
#include "tests/ranks/every_operation.h"

namespace hvd {

class RandomLife {
 public:
  // Collective. Throws std::runtime_error.
  RandomLife(Session& session, std::uint64_t seed);

  // Collective. "", or what was wrong: a result, or the end of the world.
  std::string act();

 private:
  const Membership& random_set();
  std::vector<int> random_ranks();
  std::string use_all_sets();
  std::string add_or_remove();
  std::string run_epochs(int count);

  Session& session_;
  std::mt19937_64 common_;  // the same on every rank
  std::vector<Membership> sets_;
  std::shared_ptr<Epochs> epochs_;  // nothing where ranks share no memory
  int actions_ = 0;
  int epoch_ = 0;
};

}  // namespace hvd
