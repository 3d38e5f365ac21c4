// ArenaOpening: the ranks agree on a plan and share the memory for it. Nothing here waits for long: who opens calls advance. Knows no tensor.
//
// What rank 0 (the lowest member) has seen, the order of gradients and how long they took to come, becomes everybody's plan. Collective: every rank starts one in the same round of the same exchange.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bindings/torch/arena_epochs.h"
#include "bindings/torch/arena_plan.h"
#include "horovod_cpp/session.h"
#include "horovod_cpp/work.h"

namespace hvd {

class ArenaOpening {
 public:
  struct Parts {
    Session& session;  // outlives the opening and what it opens
    int process_set = 0;
    std::vector<ArenaItem> items;         // gradients
    std::vector<std::size_t> order;       // in which gradients came on this rank: every index once
    std::chrono::nanoseconds backward{};  // from the first of them to the end of backward
    ReduceOp op = ReduceOp::average;
    double prescale = 1.0;
    double postscale = 1.0;
    bool wants_squares = false;
    std::string suffix;              // of the names of operations
    std::vector<std::string> names;  // of the gradients; for people
  };
  explicit ArenaOpening(Parts parts);

  // True if it is over. Blocks until `deadline` at most.
  bool advance(Deadline deadline);
  // Then: the arena, or nullptr if there is none on any rank; status() says why.
  std::unique_ptr<ArenaEpochs> take();
  const Status& status() const { return status_; }

 private:
  struct Opened {
    std::shared_ptr<Epochs> epochs;
  };
  Work broadcast_sight();
  Work open_epochs();
  void name_contents(const std::vector<std::size_t>& order);

  const Parts parts_;
  const std::shared_ptr<std::vector<std::int64_t>>
      sight_;  // order, backward in ns, bytes of a chunk; rank 0's
  Work sight_work_;
  ArenaPlan plan_;
  std::shared_ptr<Opened> opened_ = std::make_shared<Opened>();
  Work epochs_work_;
  Status status_;
};

}  // namespace hvd
