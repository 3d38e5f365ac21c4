#include "ops/host/reduce.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "horovod_cpp/base/wire.h"
#include "tests/conformance/small_float.h"
#include "tests/harness/seed.h"

namespace hvd {
namespace {

constexpr std::array kOps{ReduceOp::sum, ReduceOp::min, ReduceOp::max, ReduceOp::product};

DataType dtype_at(int index) { return static_cast<DataType>(index); }

Bytes random_bytes(std::mt19937_64& random, std::size_t count) {
  Bytes bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

// `n` inputs of `count` elements reduced out of place.
Bytes reduced(const ReduceKernels& kernels, const std::vector<Bytes>& inputs, DataType dtype, ReduceOp op,
              double scale = 1.0) {
  std::vector<const std::byte*> pointers;
  for (const Bytes& input : inputs) pointers.push_back(input.data());
  Bytes output(inputs.front().size());
  reduce(kernels, {pointers, output.data(), nullptr, output.size() / size_in_bytes(dtype), dtype, op, scale});
  return output;
}

template <class T>
Bytes bytes_of(const std::vector<T>& values) {
  Bytes bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}
template <class T>
std::vector<T> values_of(const Bytes& bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

// Sign and payload of a wide NaN are not specified: all become one.
template <class T>
void unify_nan(Bytes& bytes) {
  auto values = values_of<T>(bytes);
  for (T& value : values) {
    if (std::isnan(value)) value = std::numeric_limits<T>::quiet_NaN();
  }
  bytes = bytes_of(values);
}
void unify_nan(Bytes& bytes, DataType dtype) {
  if (dtype == DataType::float32) unify_nan<float>(bytes);
  if (dtype == DataType::float64) unify_nan<double>(bytes);
}

constexpr std::array kSmallFloats{DataType::float16, DataType::bfloat16, DataType::float8_e4m3,
                                  DataType::float8_e5m2};

Bytes stored_bytes(const SmallFloat& format, const std::vector<unsigned>& codes) {
  if (format.bits_without_sign() == 7) return bytes_of(std::vector<std::uint8_t>(codes.begin(), codes.end()));
  return bytes_of(std::vector<std::uint16_t>(codes.begin(), codes.end()));
}
std::vector<unsigned> codes_of(const SmallFloat& format, const Bytes& bytes) {
  if (format.bits_without_sign() == 7) {
    const auto values = values_of<std::uint8_t>(bytes);
    return {values.begin(), values.end()};
  }
  const auto values = values_of<std::uint16_t>(bytes);
  return {values.begin(), values.end()};
}

TEST(ReduceTest, TheBaselineIsAlwaysThereAndFirst) {
  ASSERT_FALSE(runnable_reduce_kernels().empty());
  EXPECT_STREQ(runnable_reduce_kernels().front()->name, "baseline");
  for (const ReduceKernels* kernels : runnable_reduce_kernels()) {
    for (const auto& row : kernels->table) {
      for (const ReduceKernel kernel : row) EXPECT_NE(kernel, nullptr) << kernels->name;
    }
  }
}

void compare_instruction_sets(std::mt19937_64& random, DataType dtype, ReduceOp op, std::size_t n,
                              std::size_t count) {
  std::vector<Bytes> inputs;
  for (std::size_t k = 0; k < n; ++k) inputs.push_back(random_bytes(random, count * size_in_bytes(dtype)));
  const double scale = count % 2 == 0 ? 1.0 : 1.0 / 3;
  const auto sets = runnable_reduce_kernels();
  Bytes expected = reduced(*sets.front(), inputs, dtype, op, scale);
  unify_nan(expected, dtype);
  for (const ReduceKernels* kernels : sets.subspan(1)) {
    Bytes actual = reduced(*kernels, inputs, dtype, op, scale);
    unify_nan(actual, dtype);
    ASSERT_EQ(actual, expected) << kernels->name << " " << name_of(dtype) << " " << name_of(op) << " n=" << n
                                << " count=" << count;
  }
}

TEST(ReduceTest, EveryInstructionSetGivesTheSameBits) {
  for_each_seed(5, 100, [](std::uint64_t seed) {
    std::mt19937_64 random(seed);
    for (int index = 0; index < kDataTypeCount; ++index) {
      for (const ReduceOp op : kOps) {
        for (const std::size_t n : {1, 2, 3, 5}) {
          const std::size_t count = 1 + random() % 1000;
          ASSERT_NO_FATAL_FAILURE(compare_instruction_sets(random, dtype_at(index), op, n, count));
        }
      }
    }
  });
}

// Integers and wide floats against the one-line definition, for every instruction set.
template <class T, class Unsigned = T>
void check_native(DataType dtype) {
  std::mt19937_64 random(7);
  constexpr std::size_t kCount = 301;
  std::vector<std::vector<T>> inputs(3, std::vector<T>(kCount));
  for (auto& input : inputs) {
    for (T& value : input) value = static_cast<T>(static_cast<std::int64_t>(random() % 255) - 127);
  }
  const auto fold = [&](ReduceOp op, std::size_t i) {
    T a = inputs[0][i];
    for (std::size_t k = 1; k < inputs.size(); ++k) {
      const T b = inputs[k][i];
      if (op == ReduceOp::sum) a = static_cast<T>(static_cast<Unsigned>(a) + static_cast<Unsigned>(b));
      if (op == ReduceOp::product)
        a = static_cast<T>(Unsigned{1} * static_cast<Unsigned>(a) * static_cast<Unsigned>(b));
      if (op == ReduceOp::min) a = std::min(a, b);
      if (op == ReduceOp::max) a = std::max(a, b);
    }
    return a;
  };
  for (const ReduceKernels* kernels : runnable_reduce_kernels()) {
    for (const ReduceOp op : kOps) {
      const auto actual = values_of<T>(
          reduced(*kernels, {bytes_of(inputs[0]), bytes_of(inputs[1]), bytes_of(inputs[2])}, dtype, op));
      for (std::size_t i = 0; i < kCount; ++i) {
        ASSERT_EQ(actual[i], fold(op, i))
            << kernels->name << " " << name_of(dtype) << " " << name_of(op) << " at " << i;
      }
    }
  }
}

TEST(ReduceTest, NativeTypesFollowTheDefinition) {
  check_native<std::uint8_t, std::uint32_t>(DataType::uint8);
  check_native<std::int8_t, std::uint32_t>(DataType::int8);
  check_native<std::uint16_t, std::uint32_t>(DataType::uint16);
  check_native<std::int16_t, std::uint32_t>(DataType::int16);
  check_native<std::uint32_t>(DataType::uint32);
  check_native<std::int32_t, std::uint32_t>(DataType::int32);
  check_native<std::uint64_t>(DataType::uint64);
  check_native<std::int64_t, std::uint64_t>(DataType::int64);
  check_native<float>(DataType::float32);
  check_native<double>(DataType::float64);
}

TEST(ReduceTest, BooleansAreTrueWhenNotZero) {
  const Bytes a = bytes_of<std::uint8_t>({0, 0, 1, 7, 0});
  const Bytes b = bytes_of<std::uint8_t>({0, 2, 0, 255, 1});
  const Bytes either = bytes_of<std::uint8_t>({0, 1, 1, 1, 1}),
              both = bytes_of<std::uint8_t>({0, 0, 0, 1, 0});
  for (const ReduceKernels* kernels : runnable_reduce_kernels()) {
    EXPECT_EQ(reduced(*kernels, {a, b}, DataType::boolean, ReduceOp::sum), either);
    EXPECT_EQ(reduced(*kernels, {a, b}, DataType::boolean, ReduceOp::max), either);
    EXPECT_EQ(reduced(*kernels, {a, b}, DataType::boolean, ReduceOp::product), both);
    EXPECT_EQ(reduced(*kernels, {a, b}, DataType::boolean, ReduceOp::min), both);
  }
}

TEST(ReduceTest, EveryCodeOfASmallFloatComesBackUnchanged) {
  for (const DataType dtype : kSmallFloats) {
    const SmallFloat format = *SmallFloat::of(dtype);
    std::vector<unsigned> codes(std::size_t{2} << format.bits_without_sign());
    for (unsigned code = 0; code < codes.size(); ++code) codes[code] = code;
    for (const ReduceKernels* kernels : runnable_reduce_kernels()) {
      const auto actual =
          codes_of(format, reduced(*kernels, {stored_bytes(format, codes)}, dtype, ReduceOp::sum));
      for (const unsigned code : codes) {
        const bool is_nan = std::isnan(format.decode(code));
        ASSERT_EQ(actual[code], is_nan ? format.encode(NAN) : code) << kernels->name << " " << name_of(dtype);
      }
    }
  }
}

// The sum of two codes times a scale is computed in float32 and rounded once.
TEST(ReduceTest, SmallFloatsRoundOnceFromFloat32) {
  std::mt19937_64 random(11);
  for (const DataType dtype : kSmallFloats) {
    const SmallFloat format = *SmallFloat::of(dtype);
    for (const double scale : {1.0, 0.5, 1.0 / 3, 100.0, 1e-6}) {
      std::vector<unsigned> a(4096), b(4096);
      for (std::size_t i = 0; i < a.size(); ++i) {
        a[i] = static_cast<unsigned>(random()) & ((2U << format.bits_without_sign()) - 1);
        b[i] = static_cast<unsigned>(random()) & ((2U << format.bits_without_sign()) - 1);
      }
      for (const ReduceKernels* kernels : runnable_reduce_kernels()) {
        const auto actual =
            codes_of(format, reduced(*kernels, {stored_bytes(format, a), stored_bytes(format, b)}, dtype,
                                     ReduceOp::sum, scale));
        for (std::size_t i = 0; i < a.size(); ++i) {
          const float x = static_cast<float>(format.decode(a[i])),
                      y = static_cast<float>(format.decode(b[i]));
          const float sum = (x + y) * static_cast<float>(scale);
          const unsigned expected = format.encode(sum);
          ASSERT_EQ(actual[i], expected)
              << kernels->name << " " << name_of(dtype) << ": (" << x << " + " << y << ") * " << scale;
        }
      }
    }
  }
}

TEST(ReduceTest, SixteenBitFloatsAccumulateInFloat32) {
  // 2048 + 1 + 1 is 2050 in float32; adding in float16 would lose both ones.
  const SmallFloat half = *SmallFloat::of(DataType::float16);
  const std::vector<Bytes> inputs{stored_bytes(half, {half.encode(2048)}),
                                  stored_bytes(half, {half.encode(1)}), stored_bytes(half, {half.encode(1)})};
  for (const ReduceKernels* kernels : runnable_reduce_kernels()) {
    EXPECT_EQ(codes_of(half, reduced(*kernels, inputs, DataType::float16, ReduceOp::sum))[0],
              half.encode(2050));
  }
}

TEST(ReduceTest, NanWinsMinAndMax) {
  for (const ReduceKernels* kernels : runnable_reduce_kernels()) {
    for (const ReduceOp op : {ReduceOp::min, ReduceOp::max}) {
      const auto actual = values_of<float>(reduced(
          *kernels, {bytes_of<float>({NAN, 1, 1}), bytes_of<float>({1, NAN, 2})}, DataType::float32, op));
      EXPECT_TRUE(std::isnan(actual[0]));
      EXPECT_TRUE(std::isnan(actual[1]));
      EXPECT_EQ(actual[2], op == ReduceOp::min ? 1 : 2);
    }
  }
}

TEST(ReduceTest, InPlaceAndTheSecondOutput) {
  for (const ReduceKernels* kernels : runnable_reduce_kernels()) {
    for (const std::size_t count : {1, 63, 64, 65, 1000}) {
      std::vector<float> a(count), b(count), second(count);
      for (std::size_t i = 0; i < count; ++i) {
        a[i] = static_cast<float>(i);
        b[i] = static_cast<float>(2 * i);
      }
      auto* output = reinterpret_cast<std::byte*>(b.data());
      const std::array<const std::byte*, 2> inputs{reinterpret_cast<const std::byte*>(a.data()), output};
      reduce(*kernels, {inputs, output, reinterpret_cast<std::byte*>(second.data()), count});
      for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(b[i], static_cast<float>(3 * i));
      EXPECT_EQ(b, second);
    }
  }
}

TEST(ReduceTest, NothingNeedsAlignmentAndNothingBeyondTheEndIsTouched) {
  for (const ReduceKernels* kernels : runnable_reduce_kernels()) {
    for (const std::size_t offset : {1, 3, 17}) {
      constexpr std::size_t kCount = 117;
      const std::vector<float> ones(kCount, 1.0F);
      Bytes input(offset + kCount * 4), output(offset + kCount * 4 + 1, std::byte{0x5a});
      std::memcpy(input.data() + offset, ones.data(), kCount * 4);
      const std::array<const std::byte*, 2> inputs{input.data() + offset, input.data() + offset};
      reduce(*kernels, {inputs, output.data() + offset, nullptr, kCount});
      std::vector<float> actual(kCount);
      std::memcpy(actual.data(), output.data() + offset, kCount * 4);
      EXPECT_EQ(actual, std::vector<float>(kCount, 2.0F));
      EXPECT_EQ(output[offset - 1], std::byte{0x5a});
      EXPECT_EQ(output.back(), std::byte{0x5a});
    }
  }
}

#if defined(__x86_64__)
TEST(ReduceTest, TheCallersFloatingPointModeDoesNotMatterAndStays) {
  constexpr unsigned kFlushAndTruncate = 0x1f80 | 0x8040 | 0x6000;  // FTZ, DAZ, toward zero
  const std::vector<float> tiny(100, 0x1p-140F), almost(100, 1.0F), more(100, 0x1.8p-24F);
  for (const ReduceKernels* kernels : runnable_reduce_kernels()) {
    const unsigned before = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(kFlushAndTruncate);
    const Bytes denormals =
        reduced(*kernels, {bytes_of(tiny), bytes_of(tiny)}, DataType::float32, ReduceOp::sum);
    const Bytes rounded =
        reduced(*kernels, {bytes_of(almost), bytes_of(more)}, DataType::float32, ReduceOp::sum);
    const unsigned after = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(before);
    EXPECT_EQ(after, kFlushAndTruncate);
    EXPECT_EQ(denormals, bytes_of(std::vector<float>(100, 0x1p-139F)));
    EXPECT_EQ(rounded, bytes_of(std::vector<float>(100, 1.0F + 0x1p-23F)));
  }
}
#endif

}  // namespace
}  // namespace hvd
