// The words every layer shares: element types, reduction operations, devices, shapes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hvd {

// Values are part of the wire format: append, never renumber.
enum class DataType : std::uint8_t {
  uint8 = 0,
  int8 = 1,
  uint16 = 2,
  int16 = 3,
  int32 = 4,
  int64 = 5,
  float16 = 6,
  bfloat16 = 7,
  float32 = 8,
  float64 = 9,
  boolean = 10,
  float8_e4m3 = 11,
  float8_e5m2 = 12,
  uint32 = 13,
  uint64 = 14,
};
inline constexpr int kDataTypeCount = 15;

std::size_t size_in_bytes(DataType dtype);
const char* name_of(DataType dtype);
bool is_floating(DataType dtype);

// Values are part of the wire format.
enum class ReduceOp : std::uint8_t { average = 0, sum = 1, min = 2, max = 3, product = 4, adasum = 5 };
const char* name_of(ReduceOp op);

// Values are part of the wire format.
enum class OpKind : std::uint8_t {
  allreduce = 0,
  broadcast = 1,
  allgather = 2,
  alltoall = 3,
  reducescatter = 4,
  barrier = 5,
  join = 6,
  add_process_set = 7,
  remove_process_set = 8,
  share_memory = 9,
};
inline constexpr int kOpKindCount = 10;
const char* name_of(OpKind kind);

enum class DeviceType : std::uint8_t { cpu = 0, cuda = 1 };

struct DeviceId {
  DeviceType type = DeviceType::cpu;
  std::int32_t index = 0;  // 0 for the CPU
  friend bool operator==(const DeviceId&, const DeviceId&) = default;
};
std::string name_of(DeviceId device);

// Dimensions, outermost first; empty for a 0-d tensor. No dimension is negative.
using Shape = std::vector<std::int64_t>;
// Number of elements: 1 for a 0-d tensor, 0 if any dimension is 0.
std::int64_t element_count(const Shape& shape);
// "[2, 3]"
std::string name_of(const Shape& shape);

}  // namespace hvd
