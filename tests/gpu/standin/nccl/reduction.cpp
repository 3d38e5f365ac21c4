#include "tests/gpu/standin/nccl/reduction.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

namespace hvd::standin {
namespace {

// A plain C++ number, stored as itself.
template <class Number>
struct Plain {
  using Stored = Number;
  using Accumulator = Number;
  static Accumulator decode(Stored stored) { return stored; }
  static Stored encode(Accumulator value) { return value; }
};

// A small binary floating type. Saturating ones have no infinity to overflow to.
template <class Bits, int kMantissa, int kLowestExponent, bool kHasInfinity, bool kSaturates>
struct SmallFloat {
  using Stored = Bits;
  using Accumulator = float;
  static constexpr int kWidth = 8 * static_cast<int>(sizeof(Bits));
  static constexpr int kExponentMask = (1 << (kWidth - 1 - kMantissa)) - 1;
  static constexpr int kMantissaMask = (1 << kMantissa) - 1;
  // Bits of the largest finite number: below infinity, or below the one NaN.
  static constexpr int kLargest = kHasInfinity ? (kExponentMask << kMantissa) - 1 : (1 << (kWidth - 1)) - 2;

  static Accumulator magnitude(int bits) {
    const int field = bits >> kMantissa;
    const int mantissa = bits & kMantissaMask;
    if (field == 0) return std::ldexp(static_cast<float>(mantissa), kLowestExponent - kMantissa);
    return std::ldexp(static_cast<float>(mantissa | (1 << kMantissa)),
                      field - 1 + kLowestExponent - kMantissa);
  }
  static Accumulator decode(Stored stored) {
    const int bits = stored & ((1 << (kWidth - 1)) - 1);
    const float sign = (stored >> (kWidth - 1)) != 0 ? -1.0F : 1.0F;
    if (bits <= kLargest) return std::copysign(magnitude(bits), sign);
    if (kHasInfinity && (bits & kMantissaMask) == 0) return sign * std::numeric_limits<float>::infinity();
    return std::numeric_limits<float>::quiet_NaN();
  }
  static Stored encode(Accumulator value) {
    const int sign = std::signbit(value) ? 1 << (kWidth - 1) : 0;
    if (std::isnan(value)) return static_cast<Stored>(sign | ((1 << (kWidth - 1)) - 1));
    // Bits of non-negative numbers are in the order of the numbers.
    const double wanted = std::fabs(static_cast<double>(value));
    int low = 0;
    int high = kLargest;
    while (low < high) {
      const int middle = (low + high + 1) / 2;
      (static_cast<double>(magnitude(middle)) <= wanted ? low : high) =
          static_cast<double>(magnitude(middle)) <= wanted ? middle : middle - 1;
    }
    const double below = magnitude(low);
    // At the largest number, the next one is where it would be if the format went on.
    const double above = low < kLargest ? static_cast<double>(magnitude(low + 1))
                                        : 2 * below - static_cast<double>(magnitude(low - 1));
    const bool rounds_up =
        wanted - below > above - wanted || (wanted - below == above - wanted && low % 2 == 1);
    if (low == kLargest && kSaturates) return static_cast<Stored>(sign | kLargest);
    return static_cast<Stored>(sign | (low + (rounds_up ? 1 : 0)));
  }
};

using Float16 = SmallFloat<std::uint16_t, 10, -14, true, false>;
using Bfloat16 = SmallFloat<std::uint16_t, 7, -126, true, false>;
using Float8E4m3 = SmallFloat<std::uint8_t, 3, -6, false, true>;
using Float8E5m2 = SmallFloat<std::uint8_t, 2, -14, true, true>;

template <class Format, class Stored = typename Format::Stored>
Stored stored_at(const std::byte* elements, std::size_t index) {
  Stored stored;
  std::memcpy(&stored, elements + index * sizeof(Stored), sizeof(Stored));
  return stored;
}

template <class T>
T wrap(T a, T b, bool is_product) {
  if constexpr (std::is_integral_v<T>) {
    const auto x = static_cast<std::uint64_t>(a);
    const auto y = static_cast<std::uint64_t>(b);
    return static_cast<T>(is_product ? x * y : x + y);
  } else {
    return is_product ? a * b : a + b;
  }
}

template <class T>
T combine(ncclRedOp_t op, T a, T b) {
  switch (op) {
    case ncclProd:
      return wrap(a, b, true);
    case ncclMax:
      return std::max(a, b);
    case ncclMin:
      return std::min(a, b);
    default:
      return wrap(a, b, false);
  }
}

template <class Format>
void reduce_as(Reduction reduction, std::span<const std::byte* const> inputs, std::byte* output,
               std::size_t count) {
  using Accumulator = typename Format::Accumulator;
  const auto scale = static_cast<Accumulator>(reduction.scale);
  const auto load = [&](std::size_t rank, std::size_t index) {
    const Accumulator value = Format::decode(stored_at<Format>(inputs[rank], index));
    return reduction.scale == 1.0 ? value : static_cast<Accumulator>(value * scale);
  };
  for (std::size_t i = 0; i < count; ++i) {
    Accumulator total = load(0, i);
    for (std::size_t rank = 1; rank < inputs.size(); ++rank)
      total = combine(reduction.op, total, load(rank, i));
    const auto stored = Format::encode(total);
    std::memcpy(output + i * sizeof(stored), &stored, sizeof(stored));
  }
}

// Calls `use` with the format of a type as a tag.
template <class Use>
auto with_format(ncclDataType_t type, const Use& use) {
  switch (type) {
    case ncclInt8:
      return use(Plain<std::int8_t>());
    case ncclUint8:
      return use(Plain<std::uint8_t>());
    case ncclInt32:
      return use(Plain<std::int32_t>());
    case ncclUint32:
      return use(Plain<std::uint32_t>());
    case ncclInt64:
      return use(Plain<std::int64_t>());
    case ncclUint64:
      return use(Plain<std::uint64_t>());
    case ncclFloat16:
      return use(Float16());
    case ncclFloat64:
      return use(Plain<double>());
    case ncclBfloat16:
      return use(Bfloat16());
    case ncclFloat8e4m3:
      return use(Float8E4m3());
    case ncclFloat8e5m2:
      return use(Float8E5m2());
    default:
      return use(Plain<float>());
  }
}

}  // namespace

std::size_t element_bytes(ncclDataType_t type) {
  return with_format(type, [](auto format) { return sizeof(typename decltype(format)::Stored); });
}

double read_element(ncclDataType_t type, const void* element) {
  return with_format(type, [&](auto format) {
    using Format = decltype(format);
    return static_cast<double>(Format::decode(stored_at<Format>(static_cast<const std::byte*>(element), 0)));
  });
}

void reduce(Reduction reduction, ncclDataType_t type, std::span<const std::byte* const> inputs,
            std::byte* output, std::size_t count) {
  with_format(type, [&](auto format) { reduce_as<decltype(format)>(reduction, inputs, output, count); });
}

}  // namespace hvd::standin
