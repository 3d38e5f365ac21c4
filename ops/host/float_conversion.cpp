#include "ops/host/float_conversion.h"

#include "ops/host/reduce_kernels.h"

namespace hvd {
namespace {

constexpr int kWidth = 16;

template <class Format>
void widen_all(const Byte* from, Byte* to, std::size_t count) {
  constexpr std::size_t kLanes = kWidth / sizeof(float);
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const auto lanes = Format::load(from + i * Format::kElementBytes);
    __builtin_memcpy(to + i * sizeof(float), &lanes, sizeof(lanes));
  }
  if (i == count) return;
  Byte padded[Format::kStep] = {};
  __builtin_memcpy(padded, from + i * Format::kElementBytes, (count - i) * Format::kElementBytes);
  const auto lanes = Format::load(padded);
  __builtin_memcpy(to + i * sizeof(float), &lanes, (count - i) * sizeof(float));
}

template <class Format>
void narrow_all(const Byte* from, Byte* to, std::size_t count) {
  constexpr std::size_t kLanes = kWidth / sizeof(float);
  using Lanes = typename Format::Lanes;
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    Format::store(to + i * Format::kElementBytes, load_vector<Lanes>(from + i * sizeof(float)));
  if (i == count) return;
  Lanes lanes{};
  __builtin_memcpy(&lanes, from + i * sizeof(float), (count - i) * sizeof(float));
  Byte padded[Format::kStep];
  Format::store(padded, lanes);
  __builtin_memcpy(to + i * Format::kElementBytes, padded, (count - i) * Format::kElementBytes);
}

using Convert = void (*)(const Byte* from, Byte* to, std::size_t count);

struct Conversions {
  Convert widen = nullptr;
  Convert narrow = nullptr;
};

template <class Format>
constexpr Conversions conversions_of() {
  return {&widen_all<Format>, &narrow_all<Format>};
}

Conversions conversions_for(DataType dtype) {
  switch (dtype) {
    case DataType::float16:
      return conversions_of<Narrow<std::uint16_t, Float16, kWidth>>();
    case DataType::bfloat16:
      return conversions_of<Narrow<std::uint16_t, BFloat16, kWidth>>();
    case DataType::float8_e4m3:
      return conversions_of<Narrow<std::uint8_t, Float8E4M3, kWidth>>();
    case DataType::float8_e5m2:
      return conversions_of<Narrow<std::uint8_t, Float8E5M2, kWidth>>();
    default:
      return {};
  }
}

}  // namespace

bool is_narrow_float(DataType dtype) { return conversions_for(dtype).widen != nullptr; }

void widen(DataType dtype, const std::byte* from, std::byte* to_float32, std::size_t count) {
  if (const Convert convert = conversions_for(dtype).widen; convert != nullptr)
    convert(from, to_float32, count);
}

void narrow(DataType dtype, const std::byte* from_float32, std::byte* to, std::size_t count) {
  if (const Convert convert = conversions_for(dtype).narrow; convert != nullptr)
    convert(from_float32, to, count);
}

}  // namespace hvd
