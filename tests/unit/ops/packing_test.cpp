#include "horovod_cpp/ports/packing.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "horovod_cpp/base/wire.h"

namespace hvd {
namespace {

// Slices of these many bytes; input byte i of the whole array has the value i.
class PackingTest : public testing::Test {
 protected:
  void make(const std::vector<std::size_t>& counts) {
    const std::size_t total = std::accumulate(counts.begin(), counts.end(), std::size_t{0});
    for (std::size_t i = 0; i < total; ++i) input_.push_back(static_cast<std::byte>(i));
    output_.assign(total, std::byte{0xee});
    std::size_t at = 0;
    for (const std::size_t count : counts) {
      slices_.push_back({input_.data() + at, output_.data() + at, count});
      at += count;
    }
  }
  Bytes input_, output_;
  std::vector<TensorSlice> slices_;
};

TEST_F(PackingTest, AnyRangeIsCopiedInAndOut) {
  make({3, 0, 1, 0, 0, 7, 2, 0});
  const PackedArray array(slices_, 1);
  ASSERT_EQ(array.size_bytes(), 13U);
  for (std::size_t begin = 0; begin <= 13; ++begin) {
    for (std::size_t end = begin; end <= 13; ++end) {
      Bytes packed(end - begin + 1, std::byte{0x77});
      pack_inputs(array, {begin, end}, packed.data());
      EXPECT_TRUE(
          std::equal(packed.begin(), packed.end() - 1, input_.begin() + static_cast<std::ptrdiff_t>(begin)));
      EXPECT_EQ(packed.back(), std::byte{0x77});

      output_.assign(13, std::byte{0xee});
      unpack_outputs(array, {begin, end}, packed.data());
      for (std::size_t i = 0; i < 13; ++i) {
        EXPECT_EQ(output_[i], i >= begin && i < end ? input_[i] : std::byte{0xee})
            << begin << " " << end << " " << i;
      }
    }
  }
}

TEST_F(PackingTest, PiecesAreInOrderWithoutGapsAndNeverEmpty) {
  make({5, 0, 4, 4});
  const PackedArray array(slices_, 1);
  std::size_t at = 2;
  int pieces = 0;
  array.for_each_piece({2, 11}, [&](const Piece& piece) {
    EXPECT_EQ(piece.range.begin, at);
    EXPECT_GT(piece.range.size(), 0U);
    EXPECT_EQ(piece.input, input_.data() + at);
    EXPECT_EQ(piece.output, output_.data() + at);
    at = piece.range.end;
    ++pieces;
  });
  EXPECT_EQ(at, 11U);
  EXPECT_EQ(pieces, 3);
}

TEST_F(PackingTest, NothingIsAnArrayToo) {
  EXPECT_EQ(PackedArray({}, 4).size_bytes(), 0U);
  PackedArray({}, 4).for_each_piece({0, 0}, [](const Piece&) { FAIL(); });
  make({0, 0});
  PackedArray(slices_, 8).for_each_piece({0, 0}, [](const Piece&) { FAIL(); });
}

TEST(PartOfTest, PartsAreDisjointCompleteAlignedAndBalanced) {
  for (const std::size_t size : {0, 1, 63, 64, 65, 1000, 4096, 262144 + 4}) {
    for (const std::size_t count : {1, 2, 3, 7, 8}) {
      const ByteRange whole{128, 128 + size};
      std::size_t at = whole.begin, longest = 0, shortest = size;
      for (std::size_t i = 0; i < count; ++i) {
        const ByteRange part = part_of(whole, i, count);
        EXPECT_EQ(part.begin, at);
        EXPECT_TRUE(part.begin % 64 == 0 || part.begin == whole.end);
        longest = std::max(longest, part.size());
        shortest = std::min(shortest, part.size());
        at = part.end;
      }
      EXPECT_EQ(at, whole.end);
      EXPECT_LE(longest - shortest, 128U) << size << " in " << count;
    }
  }
}

}  // namespace
}  // namespace hvd
