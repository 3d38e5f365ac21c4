// A contender's rank: does what the conductor writes on the board until it is told to finish.
#pragma once

#include <string>

#include "tests/bench/board.h"
#include "tests/bench/contender.h"

namespace hvd::bench {

// This process's part in a contender. The process ends at once when the conductor does, whatever it is doing.
class Rank {
 public:
  // Of the board that the environment names. Errors: unavailable if this process was not started by the conductor.
  static Result<Rank> join(Place place);

  Board& board() { return *board_; }
  // Rank 0's message to the others, at most 1023 characters: addresses, identifiers. Waits for it a minute at most.
  Status pass_on(std::string& letter);
  // Obeys until the end; only then the process may leave. Failures are told to the conductor.
  void obey(const ContenderMaker& make);

 private:
  Rank(MappedBoard board, Place place) : board_(std::move(board)), place_(place) {}
  Status repeat(Contender& contender, const Command& command);

  MappedBoard board_;
  Place place_;
};

// The rank and size that the conductor gave a process which it started itself, without a launcher.
Result<Place> place_from_environment();

}  // namespace hvd::bench
