#include "ops/host/sum_of_squares.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "ops/host/float_conversion.h"

namespace hvd {
namespace {

template <class T>
double sum_of(const std::vector<T>& values, DataType dtype) {
  return sum_of_squares(reinterpret_cast<const std::byte*>(values.data()), values.size(), dtype);
}

TEST(SumOfSquares, OfEveryIntegerType) {
  EXPECT_EQ(sum_of(std::vector<std::int8_t>{-3, 4, 0, 1}, DataType::int8), 26);
  EXPECT_EQ(sum_of(std::vector<std::uint8_t>{200, 1}, DataType::uint8), 40'001);
  EXPECT_EQ(sum_of(std::vector<std::int16_t>{-300}, DataType::int16), 90'000);
  EXPECT_EQ(sum_of(std::vector<std::uint16_t>{60'000}, DataType::uint16), 3.6e9);
  EXPECT_EQ(sum_of(std::vector<std::int32_t>{-2, 3}, DataType::int32), 13);
  EXPECT_EQ(sum_of(std::vector<std::uint32_t>{4'000'000'000U}, DataType::uint32), 1.6e19);
  EXPECT_EQ(sum_of(std::vector<std::int64_t>{-5}, DataType::int64), 25);
  EXPECT_EQ(sum_of(std::vector<std::uint64_t>{6}, DataType::uint64), 36);
  EXPECT_EQ(sum_of(std::vector<std::uint8_t>{1, 0, 1}, DataType::boolean), 2);
}

TEST(SumOfSquares, OfFloatsOfAnyLengthIsExactWhereItCanBe) {
  for (const std::size_t count : {0, 1, 7, 8, 9, 63, 1000, 4099}) {
    std::vector<float> floats(count);
    std::vector<double> doubles(count);
    double expected = 0;
    for (std::size_t i = 0; i < count; ++i) {
      floats[i] = static_cast<float>(i % 50);
      doubles[i] = floats[i];
      expected += doubles[i] * doubles[i];
    }
    EXPECT_EQ(sum_of(floats, DataType::float32), expected) << count;
    EXPECT_EQ(sum_of(doubles, DataType::float64), expected) << count;
    for (const DataType dtype :
         {DataType::float16, DataType::bfloat16, DataType::float8_e4m3, DataType::float8_e5m2}) {
      std::vector<std::byte> narrowed(count * size_in_bytes(dtype));
      std::vector<float> small(count);
      double of_small = 0;
      for (std::size_t i = 0; i < count; ++i) {
        small[i] = static_cast<float>(i % 4);
        of_small += static_cast<double>(small[i]) * static_cast<double>(small[i]);
      }
      narrow(dtype, reinterpret_cast<const std::byte*>(small.data()), narrowed.data(), count);
      EXPECT_EQ(sum_of_squares(narrowed.data(), count, dtype), of_small) << name_of(dtype) << ' ' << count;
    }
  }
}

TEST(SumOfSquares, KeepsWhatIsNotFinite) {
  EXPECT_TRUE(std::isnan(sum_of(std::vector<float>{1, NAN}, DataType::float32)));
  EXPECT_TRUE(std::isinf(sum_of(std::vector<float>{1, INFINITY}, DataType::float32)));
  EXPECT_FALSE(std::isinf(sum_of(std::vector<float>{3e38F, 3e38F}, DataType::float32))) << "in float64";
}

}  // namespace
}  // namespace hvd
