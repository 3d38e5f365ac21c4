// RankPicture: what one rank is doing at a moment, small enough to be sent to the rank that puts all of them into words. A value.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "horovod_cpp/base/wire.h"

namespace hvd {

struct RankPicture {
  // An operation that was submitted here and has not ended.
  struct Pending {
    std::string what;          // "allreduce 'layer1.weight'"
    std::vector<int> members;  // who has to submit it; empty: all ranks
    std::chrono::milliseconds age{};
  };
  // The end of an epoch that this rank has reached and others have not.
  struct Awaiting {
    int rank = 0;
    std::uint32_t missing = 0;  // buckets that it has not published
    std::string first;          // … and the first of them
  };
  struct Epoch {
    std::string plan;
    std::vector<Awaiting> awaited;
    std::chrono::milliseconds age{};  // since this rank reached it
  };

  static constexpr std::size_t kMostPending = 24;
  static constexpr std::size_t kMostWords = 200;  // bytes of a name

  std::uint32_t steps = 0;       // of the optimizer
  std::vector<Pending> pending;  // the oldest first, kMostPending of them
  std::uint32_t more_pending = 0;
  std::vector<Epoch> epochs;
  std::string last;  // what it did last, and how long ago
};

// A few kilobytes.
Bytes encode(const RankPicture& picture);
// Safe on any bytes; nothing if they are no picture.
std::optional<RankPicture> decode_picture(std::span<const std::byte> bytes);

// A rank as the one that asked sees it.
struct RankSeen {
  int rank = 0;
  std::optional<RankPicture> picture;
  std::string absence;  // without a picture: "is gone", "has not answered …"
};

// In words, a line a fact: who holds up whom with what, and since when. Pure. `ranks`: ascending.
std::string words_of(std::span<const RankSeen> ranks);

}  // namespace hvd
