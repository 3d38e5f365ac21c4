#include "horovod_cpp/coordinator/epoch_words.h"

#include <optional>

namespace hvd {
namespace {

std::uint64_t bit(bool is_set, unsigned place) { return is_set ? std::uint64_t{1} << place : 0; }
bool has_bit(std::uint64_t word, unsigned place) { return ((word >> place) & 1U) != 0; }

}  // namespace

std::uint64_t encode(std::uint64_t epoch, const CloseWord& word) {
  return epoch << 16U | std::uint64_t{word.count} << 8U | bit(word.has_begun, 4) | bit(word.is_gone, 3) |
         bit(word.has_more, 2) | bit(word.leaves, 1) | bit(word.is_void, 0);
}

CloseWord decode_close(std::uint64_t word) {
  return {has_bit(word, 0), has_bit(word, 1), has_bit(word, 2),
          has_bit(word, 3), has_bit(word, 4), static_cast<std::uint8_t>(word >> 8U)};
}

std::uint64_t encode(std::uint64_t epoch, const EpochOutcome& outcome) {
  return epoch << 16U | bit(outcome.has_begun, 6) | bit(outcome.counts_differ, 5) | bit(outcome.is_gone, 4) |
         bit(outcome.has_more, 3) | bit(outcome.leaves, 2) | static_cast<std::uint64_t>(outcome.state);
}

EpochOutcome decode_outcome(std::uint64_t word) {
  return {static_cast<EpochState>(word & 3U),
          has_bit(word, 2),
          has_bit(word, 3),
          has_bit(word, 4),
          has_bit(word, 6),
          has_bit(word, 5)};
}

EpochOutcome decide(std::span<const CloseWord> of_ranks) {
  EpochOutcome outcome{.state = EpochState::complete};
  std::optional<std::uint8_t> count;
  bool is_void = false;
  for (const CloseWord& word : of_ranks) {
    is_void = is_void || word.is_void;
    outcome.leaves = outcome.leaves || word.leaves;
    outcome.has_more = outcome.has_more || word.has_more;
    outcome.is_gone = outcome.is_gone || word.is_gone;
    outcome.has_begun = outcome.has_begun || word.has_begun;
    if (word.is_gone) continue;
    if (!count) count = word.count;
    if (*count != word.count) return {.state = EpochState::failed, .counts_differ = true};
  }
  if (is_void) {
    outcome.state = EpochState::dropped;
    outcome.has_more = false;
  }
  return outcome;
}

}  // namespace hvd
