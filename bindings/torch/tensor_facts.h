// What the core must know of a tensor: its element type,
// shape and device, in the core's words. Pure functions.
#pragma once

#include <ATen/core/Tensor.h>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/types.h"

namespace hvd {

// invalid_argument says which types there are.
Result<DataType> data_type_of(c10::ScalarType scalar_type);
// invalid_argument for devices other than CPU and CUDA.
Result<DeviceId> device_id_of(c10::Device device);
Shape shape_of(const at::Tensor& tensor);

// Defined, and not sparse.
bool is_dense(const at::Tensor& tensor);

// Dense, and of the same type, sizes and device.
bool is_dense_like(const at::Tensor& tensor, const at::Tensor& like);

// ok if collectives can move this tensor's elements: defined, dense, of a known type, on a known device.
Status check_tensor(const at::Tensor& tensor);

// Whether the elements can be moved where they lie: contiguous, and stored with their own sign.
bool is_plain_memory(const at::Tensor& tensor);
// A contiguous copy of the elements.
at::Tensor contiguous_copy(const at::Tensor& tensor);

// Whether several elements share memory (an expanded tensor), so that writing them makes no sense.
bool overlaps_itself(const at::Tensor& tensor);

}  // namespace hvd
