// The kernels of reduce.h, written once for any vector width. Private to reduce_baseline.cpp, reduce_avx2.cpp
// and reduce_avx512.cpp, which compile it with different instruction sets, and to float_conversion.cpp.
//
// Everything has internal linkage, and no inline function of the standard library is called: the linker must
// never give the program a copy that was compiled for a processor it does not run on.
#pragma once

#include <cstdint>

#include "ops/host/reduce.h"

namespace hvd {
namespace {

using Byte = std::byte;

template <class T, int kWidth>
struct VectorOf {
  typedef T type __attribute__((vector_size(kWidth)));
};
template <class T, int kWidth>
using Vector = typename VectorOf<T, kWidth>::type;

template <class V>
[[gnu::always_inline]] inline V load_vector(const Byte* from) {
  V value;
  __builtin_memcpy(&value, from, sizeof(V));
  return value;
}

// ---- formats: how elements lie in memory and in which vectors they are computed ---

// kWidth: bytes of a vector register.
template <class T, int kWidth>
struct Native {
  using Lanes = Vector<T, kWidth>;
  using Scalar = T;
  static constexpr std::size_t kElementBytes = sizeof(T);
  static constexpr std::size_t kStep = kWidth;  // bytes of memory a vector
  static constexpr bool kScales = T(0.5) != T(0);

  [[gnu::always_inline]] static Lanes load(const Byte* from) { return load_vector<Lanes>(from); }
  [[gnu::always_inline]] static void store(Byte* to, Lanes value) {
    __builtin_memcpy(to, &value, sizeof(value));
  }
};

template <int kWidth>
struct Boolean {
  using Lanes = Vector<std::uint8_t, kWidth>;
  using Scalar = std::uint8_t;
  static constexpr std::size_t kElementBytes = 1;
  static constexpr std::size_t kStep = kWidth;
  static constexpr bool kScales = false;

  [[gnu::always_inline]] static Lanes load(const Byte* from) {
    return (Lanes)(load_vector<Lanes>(from) != 0) & 1;
  }
  [[gnu::always_inline]] static void store(Byte* to, Lanes value) {
    __builtin_memcpy(to, &value, sizeof(value));
  }
};

// A float of 16 or 8 bits (Stored), computed as float32.
// Codec turns the stored bits, zero-extended, into float32 and back.
template <class Stored, template <int> class CodecOf, int kWidth>
struct Narrow {
  using Codec = CodecOf<kWidth>;
  using Lanes = Vector<float, kWidth>;
  using Scalar = float;
  using Packed = Vector<Stored, kWidth / 4 * static_cast<int>(sizeof(Stored))>;
  using Words = Vector<std::int32_t, kWidth>;
  static constexpr std::size_t kElementBytes = sizeof(Stored);
  static constexpr std::size_t kStep = sizeof(Packed);
  static constexpr bool kScales = true;

  [[gnu::always_inline]] static Lanes load(const Byte* from) {
    return Codec::decode(__builtin_convertvector(load_vector<Packed>(from), Words));
  }
  [[gnu::always_inline]] static void store(Byte* to, Lanes value) {
    const Packed packed = __builtin_convertvector(Codec::encode(value), Packed);
    __builtin_memcpy(to, &packed, sizeof(packed));
  }
};

// bfloat16 is the upper half of a float32.
template <int kWidth>
struct BFloat16 {
  using Words = Vector<std::int32_t, kWidth>;
  using Floats = Vector<float, kWidth>;

  [[gnu::always_inline]] static Floats decode(Words stored) { return (Floats)(stored << 16); }
  [[gnu::always_inline]] static Words encode(Floats value) {
    const Words bits = (Words)value;
    const Words magnitude = bits & 0x7fffffff;
    const Words rounded = ((magnitude + 0x7fff + ((magnitude >> 16) & 1)) >> 16) | ((bits >> 16) & 0x8000);
    return magnitude > 0x7f800000 ? Words{} + 0x7fc0 : rounded;
  }
};

// What the largest exponent means, and what becomes of values beyond the largest finite one.
enum class Range {
  ieee,       // infinity and NaN; overflow gives infinity
  saturated,  // infinity and NaN; overflow of a finite value gives the largest finite value
  finite,     // no infinity, one NaN with all bits set; everything else is finite; overflow gives the largest
};

// A binary format of 1 sign bit, kExponent and kMantissa bits with gradual underflow (IEEE 754, section 3.4;
// the 8-bit ones: Open Compute Project, "OCP 8-bit Floating Point Specification", 1.0).
template <int kExponent, int kMantissa, Range kRange, int kWidth>
struct SmallFloat {
  using Words = Vector<std::int32_t, kWidth>;
  using Floats = Vector<float, kWidth>;

  static constexpr int kBits = kExponent + kMantissa;  // without the sign
  static constexpr int kBias = (1 << (kExponent - 1)) - 1;
  static constexpr int kShift = 23 - kMantissa;        // between the mantissas of float32 and of this format
  static constexpr int kRebias = (127 - kBias) << 23;  // between their exponents
  static constexpr int kMagnitude = (1 << kBits) - 1;
  static constexpr int kInfinity = ((1 << kExponent) - 1) << kMantissa;  // ieee, saturated
  static constexpr int kNan = kRange == Range::finite ? kMagnitude : kInfinity | (1 << (kMantissa - 1));
  static constexpr int kLargest = kRange == Range::finite ? kMagnitude - 1 : kInfinity - 1;

  [[gnu::always_inline]] static Floats decode(Words stored) {
    const Words sign = (stored & (1 << kBits)) << (31 - kBits);
    const Words magnitude = stored & kMagnitude;
    const Words shifted = magnitude << kShift;
    // m × 2^s as (1 + m') × 2^e − 2^e: never touches a float32 denormal, which would be slow.
    const Words smallest_normal = Words{} + (kRebias + (1 << 23));
    const Words subnormal = (Words)((Floats)(shifted + smallest_normal) - (Floats)smallest_normal);
    Words value = magnitude < (1 << kMantissa) ? subnormal : shifted + kRebias;
    value = magnitude >= (kRange == Range::finite ? kNan : kInfinity) ? shifted | 0x7f800000 : value;
    return (Floats)(value | sign);
  }

  [[gnu::always_inline]] static Words encode(Floats value) {
    const Words bits = (Words)value;
    const Words sign = (bits >> (31 - kBits)) & (1 << kBits);
    const Words magnitude = bits & 0x7fffffff;
    const Words rebiased = magnitude - kRebias;
    const Words normal = (rebiased + ((1 << (kShift - 1)) - 1) + ((rebiased >> kShift) & 1)) >> kShift;
    // Adding 2^(23 + exponent of the last place) makes the float unit round to that place.
    const Words rounder = Words{} + (kRebias + ((1 + kShift) << 23));
    const Words subnormal = (Words)((Floats)magnitude + (Floats)rounder) - rounder;
    Words result = magnitude < kRebias + (1 << 23) ? subnormal : normal;
    if constexpr (kRange == Range::ieee) {
      result = result > kInfinity ? Words{} + kInfinity : result;
    } else {
      result = result > kLargest ? Words{} + kLargest : result;
    }
    if constexpr (kRange == Range::saturated) result = magnitude == 0x7f800000 ? Words{} + kInfinity : result;
    return magnitude > 0x7f800000 ? Words{} + kNan : result | sign;
  }
};

template <int kWidth>
using Float16 = SmallFloat<5, 10, Range::ieee, kWidth>;
template <int kWidth>
using Float8E4M3 = SmallFloat<4, 3, Range::finite, kWidth>;
template <int kWidth>
using Float8E5M2 = SmallFloat<5, 2, Range::saturated, kWidth>;

// ---- operations ---

struct Sum {
  template <class V>
  [[gnu::always_inline]] static V apply(V a, V b) {
    return a + b;
  }
};
struct Product {
  template <class V>
  [[gnu::always_inline]] static V apply(V a, V b) {
    return a * b;
  }
};
// b != b: NaN. A NaN in `a` stays because comparisons with it are false.
struct Min {
  template <class V>
  [[gnu::always_inline]] static V apply(V a, V b) {
    return ((b < a) | (b != b)) ? b : a;
  }
};
struct Max {
  template <class V>
  [[gnu::always_inline]] static V apply(V a, V b) {
    return ((b > a) | (b != b)) ? b : a;
  }
};
struct Or {
  template <class V>
  [[gnu::always_inline]] static V apply(V a, V b) {
    return a | b;
  }
};
struct And {
  template <class V>
  [[gnu::always_inline]] static V apply(V a, V b) {
    return a & b;
  }
};

// ---- the loop ---

// Four vectors, named so that compilers keep them in registers while the inputs are walked.
template <class Format>
struct Block {
  using Lanes = typename Format::Lanes;
  static constexpr std::size_t kBytes = 4 * Format::kStep;
  Lanes a, b, c, d;

  [[gnu::always_inline]] static Block load(const Byte* from) {
    constexpr auto step = Format::kStep;
    return {Format::load(from), Format::load(from + step), Format::load(from + 2 * step),
            Format::load(from + 3 * step)};
  }
  [[gnu::always_inline]] void store(Byte* to) const {
    constexpr auto step = Format::kStep;
    Format::store(to, a);
    Format::store(to + step, b);
    Format::store(to + 2 * step, c);
    Format::store(to + 3 * step, d);
  }
  template <class Op>
  [[gnu::always_inline]] void apply(const Block& other) {
    a = Op::apply(a, other.a);
    b = Op::apply(b, other.b);
    c = Op::apply(c, other.c);
    d = Op::apply(d, other.d);
  }
  [[gnu::always_inline]] void multiply(typename Format::Scalar factor) {
    a *= factor;
    b *= factor;
    c *= factor;
    d *= factor;
  }
};

template <class Format, class Op>
void reduce_all(const Byte* const* inputs, std::size_t input_count, Byte* output, Byte* second_output,
                std::size_t count, double scale) {
  using OneBlock = Block<Format>;
  const std::size_t total_bytes = count * Format::kElementBytes;
  const bool scales = Format::kScales && scale != 1.0;
  const auto factor = static_cast<typename Format::Scalar>(Format::kScales ? scale : 1.0);

  std::size_t at = 0;
  for (; at + OneBlock::kBytes <= total_bytes; at += OneBlock::kBytes) {
    OneBlock block = OneBlock::load(inputs[0] + at);
    for (std::size_t k = 1; k < input_count; ++k) block.template apply<Op>(OneBlock::load(inputs[k] + at));
    if (scales) block.multiply(factor);
    block.store(output + at);
    if (second_output != nullptr) block.store(second_output + at);
  }
  if (at == total_bytes) return;

  // The rest goes through the same arithmetic, padded with zeros.
  const std::size_t rest = total_bytes - at;
  alignas(64) Byte padded[OneBlock::kBytes] = {};
  __builtin_memcpy(padded, inputs[0] + at, rest);
  OneBlock block = OneBlock::load(padded);
  for (std::size_t k = 1; k < input_count; ++k) {
    __builtin_memcpy(padded, inputs[k] + at, rest);
    block.template apply<Op>(OneBlock::load(padded));
  }
  if (scales) block.multiply(factor);
  block.store(padded);
  __builtin_memcpy(output + at, padded, rest);
  if (second_output != nullptr) __builtin_memcpy(second_output + at, padded, rest);
}

// ---- the table ---

template <class Format>
constexpr std::array<ReduceKernel, 4> row_of() {
  return {reduce_all<Format, Sum>, reduce_all<Format, Min>, reduce_all<Format, Max>,
          reduce_all<Format, Product>};
}
// Sums and products of integers are computed unsigned, where wrapping around is defined.
template <class Signed, class Unsigned, int kWidth>
constexpr std::array<ReduceKernel, 4> integer_row_of() {
  using Format = Native<Unsigned, kWidth>;
  using Ordered = Native<Signed, kWidth>;
  return {reduce_all<Format, Sum>, reduce_all<Ordered, Min>, reduce_all<Ordered, Max>,
          reduce_all<Format, Product>};
}

template <int kWidth>
constexpr ReduceKernels kernels_of_width(const char* name) {
  using B = Boolean<kWidth>;
  ReduceKernels kernels{name, {}};
  auto set = [&kernels](DataType dtype, std::array<ReduceKernel, 4> row) {
    kernels.table[static_cast<std::size_t>(dtype)] = row;
  };
  set(DataType::uint8, row_of<Native<std::uint8_t, kWidth>>());
  set(DataType::int8, integer_row_of<std::int8_t, std::uint8_t, kWidth>());
  set(DataType::uint16, row_of<Native<std::uint16_t, kWidth>>());
  set(DataType::int16, integer_row_of<std::int16_t, std::uint16_t, kWidth>());
  set(DataType::uint32, row_of<Native<std::uint32_t, kWidth>>());
  set(DataType::int32, integer_row_of<std::int32_t, std::uint32_t, kWidth>());
  set(DataType::uint64, row_of<Native<std::uint64_t, kWidth>>());
  set(DataType::int64, integer_row_of<std::int64_t, std::uint64_t, kWidth>());
  set(DataType::float16, row_of<Narrow<std::uint16_t, Float16, kWidth>>());
  set(DataType::bfloat16, row_of<Narrow<std::uint16_t, BFloat16, kWidth>>());
  set(DataType::float32, row_of<Native<float, kWidth>>());
  set(DataType::float64, row_of<Native<double, kWidth>>());
  set(DataType::boolean, {reduce_all<B, Or>, reduce_all<B, And>, reduce_all<B, Or>, reduce_all<B, And>});
  set(DataType::float8_e4m3, row_of<Narrow<std::uint8_t, Float8E4M3, kWidth>>());
  set(DataType::float8_e5m2, row_of<Narrow<std::uint8_t, Float8E5M2, kWidth>>());
  return kernels;
}

}  // namespace
}  // namespace hvd
