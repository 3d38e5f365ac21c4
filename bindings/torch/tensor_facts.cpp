#include "bindings/torch/tensor_facts.h"

#include <ATen/ops/empty.h>

#include <array>
#include <utility>

#include "horovod_cpp/base/text.h"

namespace hvd {
namespace {

constexpr std::array<std::pair<c10::ScalarType, DataType>, kDataTypeCount> kTypes{{
    {c10::ScalarType::Byte, DataType::uint8},
    {c10::ScalarType::Char, DataType::int8},
    {c10::ScalarType::UInt16, DataType::uint16},
    {c10::ScalarType::Short, DataType::int16},
    {c10::ScalarType::Int, DataType::int32},
    {c10::ScalarType::Long, DataType::int64},
    {c10::ScalarType::Half, DataType::float16},
    {c10::ScalarType::BFloat16, DataType::bfloat16},
    {c10::ScalarType::Float, DataType::float32},
    {c10::ScalarType::Double, DataType::float64},
    {c10::ScalarType::Bool, DataType::boolean},
    {c10::ScalarType::Float8_e4m3fn, DataType::float8_e4m3},
    {c10::ScalarType::Float8_e5m2, DataType::float8_e5m2},
    {c10::ScalarType::UInt32, DataType::uint32},
    {c10::ScalarType::UInt64, DataType::uint64},
}};

}  // namespace

Result<DataType> data_type_of(c10::ScalarType scalar_type) {
  std::string known;
  for (const auto& [torch_type, data_type] : kTypes) {
    if (torch_type == scalar_type) return data_type;
    known += text(known.empty() ? "" : ", ", c10::toString(torch_type));
  }
  return Status::invalid_argument(text("tensors of type ", c10::toString(scalar_type),
                                       " cannot be communicated; the types are ", known,
                                       " (a complex tensor: pass torch::view_as_real of it)"));
}

Result<DeviceId> device_id_of(c10::Device device) {
  if (device.is_cpu()) return DeviceId{DeviceType::cpu, 0};
  if (device.is_cuda()) return DeviceId{DeviceType::cuda, device.has_index() ? device.index() : 0};
  return Status::invalid_argument(
      text("a tensor on device ", device.str(),
           " cannot be communicated: expected cpu or cuda; copy it with .cpu() first"));
}

Shape shape_of(const at::Tensor& tensor) { return {tensor.sizes().begin(), tensor.sizes().end()}; }

bool is_dense(const at::Tensor& tensor) { return tensor.defined() && tensor.layout() == c10::kStrided; }

bool is_dense_like(const at::Tensor& tensor, const at::Tensor& like) {
  return is_dense(tensor) && tensor.scalar_type() == like.scalar_type() && tensor.device() == like.device() &&
         tensor.sizes() == like.sizes();
}

Status check_tensor(const at::Tensor& tensor) {
  if (!tensor.defined()) return Status::invalid_argument("the tensor is undefined");
  if (tensor.layout() != c10::kStrided) {
    return Status::invalid_argument(
        "the tensor is sparse: only dense tensors can be communicated; use .to_dense()");
  }
  HVD_RETURN_IF_ERROR(data_type_of(tensor.scalar_type()).status());
  return device_id_of(tensor.device()).status();
}

bool is_plain_memory(const at::Tensor& tensor) { return tensor.is_contiguous() && !tensor.is_neg(); }

at::Tensor contiguous_copy(const at::Tensor& tensor) {
  return at::empty(tensor.sizes(), tensor.options().memory_format(c10::MemoryFormat::Contiguous))
      .copy_(tensor);
}

bool overlaps_itself(const at::Tensor& tensor) {
  if (tensor.numel() == 0) return false;
  for (std::int64_t dimension = 0; dimension < tensor.dim(); ++dimension) {
    if (tensor.size(dimension) > 1 && tensor.stride(dimension) == 0) return true;
  }
  return false;
}

}  // namespace hvd
