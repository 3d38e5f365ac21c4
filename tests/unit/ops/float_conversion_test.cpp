#include "ops/host/float_conversion.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>
#include <vector>

#include "horovod_cpp/base/wire.h"
#include "ops/host/reduce.h"
#include "tests/conformance/small_float.h"
#include "tests/harness/seed.h"

namespace hvd {
namespace {

constexpr DataType kNarrow[] = {DataType::float16, DataType::bfloat16, DataType::float8_e4m3,
                                DataType::float8_e5m2};

unsigned code_at(const Bytes& stored, std::size_t i, std::size_t width) {
  unsigned code = 0;
  for (std::size_t b = 0; b < width; ++b) code |= std::to_integer<unsigned>(stored[i * width + b]) << (8 * b);
  return code;
}

TEST(FloatConversion, KnowsItsTypes) {
  int known = 0;
  for (int index = 0; index < kDataTypeCount; ++index)
    known += is_narrow_float(static_cast<DataType>(index)) ? 1 : 0;
  for (const DataType dtype : kNarrow) EXPECT_TRUE(is_narrow_float(dtype)) << name_of(dtype);
  EXPECT_EQ(known, 4);
}

TEST(FloatConversion, EveryCodeThereAndBack) {
  for (const DataType dtype : kNarrow) {
    const SmallFloat format = *SmallFloat::of(dtype);
    const std::size_t width = size_in_bytes(dtype);
    // One less than all, so that the last elements do not fill a vector.
    const std::size_t count = (std::size_t{2} << format.bits_without_sign()) - 1;
    Bytes stored(count * width);
    for (std::size_t i = 0; i < stored.size(); ++i)
      stored[i] = static_cast<std::byte>(i / width >> (8 * (i % width)));
    Bytes wide(count * sizeof(float)), back(stored.size());
    widen(dtype, stored.data(), wide.data(), count);
    narrow(dtype, wide.data(), back.data(), count);
    for (std::size_t i = 0; i < count; ++i) {
      float value = 0;
      std::memcpy(&value, wide.data() + i * sizeof(float), sizeof(float));
      const double expected = format.decode(static_cast<unsigned>(i));
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(value)) << name_of(dtype) << " " << i;
        ASSERT_TRUE(std::isnan(format.decode(code_at(back, i, width)))) << name_of(dtype) << " " << i;
        continue;
      }
      ASSERT_EQ(value, expected) << name_of(dtype) << " " << i;
      ASSERT_EQ(code_at(back, i, width), i) << name_of(dtype);
    }
  }
}

TEST(FloatConversion, RoundsAsTheReference) {
  for_each_seed(2, 20, [](std::uint64_t seed) {
    std::mt19937_64 random(seed);
    for (const DataType dtype : kNarrow) {
      const SmallFloat format = *SmallFloat::of(dtype);
      const std::size_t width = size_in_bytes(dtype), count = 4099;
      std::vector<float> values(count);
      for (float& value : values) value = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
      Bytes stored(count * width);
      narrow(dtype, std::as_bytes(std::span(values)).data(), stored.data(), count);
      for (std::size_t i = 0; i < count; ++i) {
        if (std::isnan(values[i])) continue;
        ASSERT_EQ(code_at(stored, i, width), format.encode(values[i])) << name_of(dtype) << " " << values[i];
      }
    }
  });
}

}  // namespace
}  // namespace hvd
