#include "tests/conformance/collectives_reference.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "tests/conformance/small_float.h"

namespace hvd {
namespace {

template <class T>
T element(const Bytes& bytes, std::size_t i) {
  T value;
  std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
  return value;
}
template <class T>
void set_element(Bytes& bytes, std::size_t i, T value) {
  std::memcpy(bytes.data() + i * sizeof(T), &value, sizeof(T));
}

unsigned code(const Bytes& bytes, std::size_t i, std::size_t width) {
  return width == 1 ? element<std::uint8_t>(bytes, i) : element<std::uint16_t>(bytes, i);
}
void set_code(Bytes& bytes, std::size_t i, std::size_t width, unsigned value) {
  if (width == 1) {
    set_element(bytes, i, static_cast<std::uint8_t>(value));
  } else {
    set_element(bytes, i, static_cast<std::uint16_t>(value));
  }
}

// A pure function of its argument that looks random (splitmix64).
std::uint64_t scramble(std::uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

template <class T>
T combine(ReduceOp op, T a, T b) {
  // Integers wrap around; those narrower than int are computed as unsigned, too.
  using Wide = std::conditional_t<std::is_integral_v<T>, std::uint64_t, T>;
  switch (op) {
    case ReduceOp::sum:
      return static_cast<T>(static_cast<Wide>(a) + static_cast<Wide>(b));
    case ReduceOp::product:
      return static_cast<T>(static_cast<Wide>(a) * static_cast<Wide>(b));
    case ReduceOp::min:
      return std::min(a, b);
    default:
      return std::max(a, b);
  }
}

// visit(T{}) with the C++ type of `dtype`; nothing for booleans and narrow floats.
template <class Visit>
void with_native_type(DataType dtype, Visit&& visit) {
  switch (dtype) {
    case DataType::uint8:
      return visit(std::uint8_t{});
    case DataType::int8:
      return visit(std::int8_t{});
    case DataType::uint16:
      return visit(std::uint16_t{});
    case DataType::int16:
      return visit(std::int16_t{});
    case DataType::uint32:
      return visit(std::uint32_t{});
    case DataType::int32:
      return visit(std::int32_t{});
    case DataType::uint64:
      return visit(std::uint64_t{});
    case DataType::int64:
      return visit(std::int64_t{});
    case DataType::float32:
      return visit(float{});
    case DataType::float64:
      return visit(double{});
    default:
      return;
  }
}

Bytes reduce_booleans(const std::vector<Bytes>& inputs, ReduceOp op) {
  const bool is_or = op == ReduceOp::sum || op == ReduceOp::max;
  Bytes result(inputs.front().size());
  for (std::size_t i = 0; i < result.size(); ++i) {
    const auto is_true = [i](const Bytes& input) { return input[i] != std::byte{0}; };
    const bool value = is_or ? std::any_of(inputs.begin(), inputs.end(), is_true)
                             : std::all_of(inputs.begin(), inputs.end(), is_true);
    result[i] = std::byte{value};
  }
  return result;
}

Bytes reduce_small_floats(const std::vector<Bytes>& inputs, const SmallFloat& format, std::size_t width,
                          ReduceOp op, double scale) {
  Bytes result(inputs.front().size());
  for (std::size_t i = 0; i < result.size() / width; ++i) {
    auto value = static_cast<float>(format.decode(code(inputs[0], i, width)));
    for (std::size_t k = 1; k < inputs.size(); ++k) {
      value = combine(op, value, static_cast<float>(format.decode(code(inputs[k], i, width))));
    }
    if (scale != 1.0) value *= static_cast<float>(scale);
    set_code(result, i, width, format.encode(value));
  }
  return result;
}

}  // namespace

Bytes sample_elements(DataType dtype, Sample sample, std::size_t count, int rank, std::uint64_t seed) {
  const std::uint64_t first = scramble(scramble(seed) + static_cast<std::uint64_t>(rank));
  Bytes bytes(count * size_in_bytes(dtype));
  const auto format = SmallFloat::of(dtype);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t draw = scramble(first + i);
    const int whole = static_cast<int>(draw % 3);
    if (dtype == DataType::boolean) {
      set_element(bytes, i, static_cast<std::uint8_t>(draw & 1));
    } else if (format) {
      const std::size_t width = size_in_bytes(dtype);
      // Between -2 and 2, so that a few of them can be multiplied.
      const double any = static_cast<double>(draw >> 11) * 0x1p-51 - 2;
      set_code(bytes, i, width, format->encode(sample == Sample::any ? any : whole));
    } else {
      with_native_type(dtype, [&]<class T>(T) {
        if (sample == Sample::whole) return set_element(bytes, i, static_cast<T>(whole));
        if constexpr (std::is_integral_v<T>) {
          set_element(bytes, i, static_cast<T>(draw));
        } else {
          set_element(bytes, i, static_cast<T>(static_cast<double>(draw >> 11) * 0x1p-51 - 2));
        }
      });
    }
  }
  return bytes;
}

Bytes reference_allreduce(const std::vector<Bytes>& inputs, DataType dtype, ReduceOp op, double scale) {
  if (dtype == DataType::boolean) return reduce_booleans(inputs, op);
  if (const auto format = SmallFloat::of(dtype)) {
    return reduce_small_floats(inputs, *format, size_in_bytes(dtype), op, scale);
  }
  Bytes result(inputs.front().size());
  with_native_type(dtype, [&]<class T>(T) {
    for (std::size_t i = 0; i < result.size() / sizeof(T); ++i) {
      T value = element<T>(inputs[0], i);
      for (std::size_t k = 1; k < inputs.size(); ++k) value = combine(op, value, element<T>(inputs[k], i));
      if constexpr (std::is_floating_point_v<T>) {
        if (scale != 1.0) value *= static_cast<T>(scale);
      }
      set_element(result, i, value);
    }
  });
  return result;
}

}  // namespace hvd
