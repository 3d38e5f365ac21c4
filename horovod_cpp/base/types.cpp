#include "horovod_cpp/base/types.h"

#include <array>

#include "horovod_cpp/base/text.h"

namespace hvd {
namespace {

struct DataTypeFacts {
  const char* name;
  std::size_t bytes;
};

// Indexed by DataType.
constexpr std::array<DataTypeFacts, kDataTypeCount> kFacts{{{"uint8", 1},
                                                            {"int8", 1},
                                                            {"uint16", 2},
                                                            {"int16", 2},
                                                            {"int32", 4},
                                                            {"int64", 8},
                                                            {"float16", 2},
                                                            {"bfloat16", 2},
                                                            {"float32", 4},
                                                            {"float64", 8},
                                                            {"bool", 1},
                                                            {"float8_e4m3", 1},
                                                            {"float8_e5m2", 1},
                                                            {"uint32", 4},
                                                            {"uint64", 8}}};

}  // namespace

std::size_t size_in_bytes(DataType dtype) { return kFacts.at(static_cast<std::size_t>(dtype)).bytes; }
const char* name_of(DataType dtype) { return kFacts.at(static_cast<std::size_t>(dtype)).name; }

bool is_floating(DataType dtype) {
  switch (dtype) {
    case DataType::float16:
    case DataType::bfloat16:
    case DataType::float32:
    case DataType::float64:
    case DataType::float8_e4m3:
    case DataType::float8_e5m2:
      return true;
    default:
      return false;
  }
}

const char* name_of(ReduceOp op) {
  constexpr std::array<const char*, 6> names{"average", "sum", "min", "max", "product", "adasum"};
  return names.at(static_cast<std::size_t>(op));
}

const char* name_of(OpKind kind) {
  constexpr std::array<const char*, kOpKindCount> names{
      "allreduce", "broadcast", "allgather",       "alltoall",           "reducescatter",
      "barrier",   "join",      "add process set", "remove process set", "share memory"};
  return names.at(static_cast<std::size_t>(kind));
}

std::string name_of(DeviceId device) {
  return device.type == DeviceType::cpu ? std::string("cpu") : text("cuda:", device.index);
}

std::int64_t element_count(const Shape& shape) {
  // Unsigned: dimensions before a 0 may be large.
  std::uint64_t count = 1;
  for (const std::int64_t dimension : shape) count *= static_cast<std::uint64_t>(dimension);
  return static_cast<std::int64_t>(count);
}

std::string name_of(const Shape& shape) {
  std::string out = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) out += text(i == 0 ? "" : ", ", shape[i]);
  return out + "]";
}

}  // namespace hvd
