#include "ops/host/sum_of_squares.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "ops/host/float_conversion.h"

namespace hvd {
namespace {

constexpr std::size_t kLanes = 8;

class Sums {
 public:
  template <class T>
  void add(const std::byte* values, std::size_t count) {
    std::size_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
      T block[kLanes];
      std::memcpy(block, values + i * sizeof(T), sizeof(block));
      for (std::size_t lane = 0; lane < kLanes; ++lane) add(lane, static_cast<double>(block[lane]));
    }
    for (; i < count; ++i) {
      T value;
      std::memcpy(&value, values + i * sizeof(T), sizeof(T));
      add(i % kLanes, static_cast<double>(value));
    }
  }
  double total() const {
    return ((sums_[0] + sums_[4]) + (sums_[1] + sums_[5])) + ((sums_[2] + sums_[6]) + (sums_[3] + sums_[7]));
  }

 private:
  void add(std::size_t lane, double value) { sums_[lane] += value * value; }
  double sums_[kLanes] = {};
};

void add_narrow(Sums& sums, const std::byte* values, std::size_t count, DataType dtype) {
  constexpr std::size_t kBlock = 64 * kLanes;
  std::byte wide[kBlock * sizeof(float)];
  const std::size_t element = size_in_bytes(dtype);
  for (std::size_t i = 0; i < count; i += kBlock) {
    const std::size_t some = std::min(kBlock, count - i);
    widen(dtype, values + i * element, wide, some);
    sums.add<float>(wide, some);
  }
}

}  // namespace

double sum_of_squares(const std::byte* values, std::size_t count, DataType dtype) {
  Sums sums;
  switch (dtype) {
    case DataType::float32:
      sums.add<float>(values, count);
      break;
    case DataType::float64:
      sums.add<double>(values, count);
      break;
    case DataType::float16:
    case DataType::bfloat16:
    case DataType::float8_e4m3:
    case DataType::float8_e5m2:
      add_narrow(sums, values, count, dtype);
      break;
    case DataType::uint8:
    case DataType::boolean:
      sums.add<std::uint8_t>(values, count);
      break;
    case DataType::int8:
      sums.add<std::int8_t>(values, count);
      break;
    case DataType::uint16:
      sums.add<std::uint16_t>(values, count);
      break;
    case DataType::int16:
      sums.add<std::int16_t>(values, count);
      break;
    case DataType::uint32:
      sums.add<std::uint32_t>(values, count);
      break;
    case DataType::int32:
      sums.add<std::int32_t>(values, count);
      break;
    case DataType::uint64:
      sums.add<std::uint64_t>(values, count);
      break;
    case DataType::int64:
      sums.add<std::int64_t>(values, count);
      break;
  }
  return sums.total();
}

}  // namespace hvd
