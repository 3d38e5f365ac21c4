// A batch of tensors seen as one contiguous array of bytes: slice after slice, without gaps. Nothing is moved
// to make it so; any range of the array can be copied in, copied out or walked.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include "horovod_cpp/ports/collectives.h"

namespace hvd {

// Half open.
struct ByteRange {
  std::size_t begin = 0;
  std::size_t end = 0;
  std::size_t size() const { return end - begin; }
  bool empty() const { return begin == end; }
};

// Part `index` of `count` nearly equal parts of `whole`. Parts begin at multiples of 64 bytes from its
// beginning, so that no element is cut; the last ones may be empty.
inline ByteRange part_of(ByteRange whole, std::size_t index, std::size_t count) {
  constexpr std::size_t kLine = 64;
  const std::size_t lines = (whole.size() + kLine - 1) / kLine;
  const auto boundary = [&](std::size_t part) {
    return std::min(whole.end, whole.begin + lines * part / count * kLine);
  };
  return {boundary(index), boundary(index + 1)};
}

// Where one slice's share of a range lies.
struct Piece {
  const std::byte* input = nullptr;
  std::byte* output = nullptr;
  ByteRange range;  // in the array
};

// The array. Refers to the slices; does not own them.
class PackedArray {
 public:
  PackedArray(std::span<const TensorSlice> slices, std::size_t element_bytes) : slices_(slices) {
    ends_.reserve(slices.size());
    std::size_t end = 0;
    for (const TensorSlice& slice : slices) ends_.push_back(end += slice.count * element_bytes);
  }

  std::size_t size_bytes() const { return ends_.empty() ? 0 : ends_.back(); }
  ByteRange all() const { return {0, size_bytes()}; }

  // From byte `at` of the array, at < size_bytes(), to the end of the slice that it lies in.
  Piece piece_at(std::size_t at) const {
    const auto slice =
        static_cast<std::size_t>(std::upper_bound(ends_.begin(), ends_.end(), at) - ends_.begin());
    const std::size_t offset = at - (slice == 0 ? 0 : ends_[slice - 1]);
    return {static_cast<const std::byte*>(slices_[slice].input) + offset,
            static_cast<std::byte*>(slices_[slice].output) + offset,
            {at, ends_[slice]}};
  }

  // visit(const Piece&) for every slice that has bytes in `range`, in order.
  template <class Visit>
  void for_each_piece(ByteRange range, Visit&& visit) const {
    for (std::size_t at = range.begin; at < range.end;) {
      Piece piece = piece_at(at);
      piece.range.end = std::min(piece.range.end, range.end);
      at = piece.range.end;
      visit(piece);
    }
  }

 private:
  std::span<const TensorSlice> slices_;
  std::vector<std::size_t> ends_;
};

// to[0 .. range.size()) = that range of the inputs.
inline void pack_inputs(const PackedArray& array, ByteRange range, std::byte* to) {
  array.for_each_piece(range, [&](const Piece& piece) {
    std::memcpy(to + (piece.range.begin - range.begin), piece.input, piece.range.size());
  });
}

// That range of the outputs = from[0 .. range.size()).
inline void unpack_outputs(const PackedArray& array, ByteRange range, const std::byte* from) {
  array.for_each_piece(range, [&](const Piece& piece) {
    std::memcpy(piece.output, from + (piece.range.begin - range.begin), piece.range.size());
  });
}

}  // namespace hvd
