// Who updates what: parameters in flat memory, cut into one slice a rank. A pure function, with the same layout on every rank.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace hvd {

struct ShardItem {
  std::size_t count = 0;  // elements
  std::size_t pool = 0;   // which flat memory it lies in: one for each type and device
};

struct ShardPiece {
  std::size_t item = 0;
  std::size_t begin = 0;  // elements within the item
  std::size_t count = 0;
};

struct ShardPlan {
  std::vector<std::size_t> begin;                // [item] elements, within its pool
  std::vector<std::vector<std::size_t>> bounds;  // [pool][r] to [r + 1]: elements of rank r
  std::vector<ShardPiece> pieces;                // of this rank; none crosses an item's end
};

// Items lie one after another, each at a multiple of 64 elements; slices begin there, too, and differ by at most 64 elements.
// most_elements: of a piece.
ShardPlan plan_shards(std::span<const ShardItem> items, std::size_t pools, std::size_t rank, std::size_t size,
                      std::size_t most_elements);

}  // namespace hvd
