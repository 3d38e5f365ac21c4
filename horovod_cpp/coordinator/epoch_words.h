// The two words that end an epoch, and what follows from them: pure. docs/protocol.md ("Epochs") has their meaning.
//
//   close    bits 63..16 epoch · 15..8 count · 4 begun · 3 gone · 2 more · 1 leave · 0 void
//   outcome  bits 63..16 epoch · 6 begun · 5 counts differ · 4 gone · 3 more · 2 leave · 1..0 state
#pragma once

#include <cstdint>
#include <span>

namespace hvd {

// What a rank says when it has published all buckets of an epoch.
struct CloseWord {
  bool is_void = false;    // its backward failed: the step is to be dropped
  bool leaves = false;     // it needs negotiation: the plan ends with this epoch
  bool has_more = false;   // further pieces of the same backward: another epoch follows at once
  bool is_gone = false;    // it has no more data (join), and writes no word after this one
  bool has_begun = false;  // it is not still in a step that was dropped
  std::uint8_t count = 0;  // counted backwards that it has ended since its last step; 255: that many or more
  friend bool operator==(const CloseWord&, const CloseWord&) = default;
};

enum class EpochState : std::uint8_t { open = 0, complete = 1, dropped = 2, failed = 3 };

struct EpochOutcome {
  EpochState state = EpochState::open;
  // With complete and dropped:
  bool leaves = false;
  bool has_more = false;  // complete only
  bool is_gone = false;
  bool has_begun = false;      // on some rank: what was dropped is over for all
  bool counts_differ = false;  // why it failed
  friend bool operator==(const EpochOutcome&, const EpochOutcome&) = default;
};

inline std::uint64_t epoch_of(std::uint64_t word) { return word >> 16U; }

std::uint64_t encode(std::uint64_t epoch, const CloseWord& word);
CloseWord decode_close(std::uint64_t word);
std::uint64_t encode(std::uint64_t epoch, const EpochOutcome& outcome);
EpochOutcome decode_outcome(std::uint64_t word);

// What follows when all ranks have closed and all buckets are reduced.
EpochOutcome decide(std::span<const CloseWord> of_ranks);

}  // namespace hvd
