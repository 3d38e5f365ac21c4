#include <pybind11/native_enum.h>

#include "bindings/python/bind.h"
#include "bindings/torch/integer_average.h"
#include "horovod_cpp/base/types.h"
#include "horovod_cpp/coordinator/declaration.h"

#include <pybind11/stl.h>

namespace py = pybind11;

namespace hvd {

// The names are those of the core, so that messages and code say the same.
void bind_words(py::module_& module) {
  py::native_enum<DataType> types(module, "DataType", "enum.IntEnum");
  for (int i = 0; i < kDataTypeCount; ++i)
    types.value(name_of(static_cast<DataType>(i)), static_cast<DataType>(i));
  types.finalize();
  py::native_enum<OpKind> kinds(module, "OpKind", "enum.IntEnum");
  for (int i = 0; i < kOpKindCount; ++i) kinds.value(name_of(static_cast<OpKind>(i)), static_cast<OpKind>(i));
  kinds.finalize();
  py::native_enum<ReduceOp>(module, "ReduceOp", "enum.IntEnum")
      .value("average", ReduceOp::average)
      .value("sum", ReduceOp::sum)
      .value("min", ReduceOp::min)
      .value("max", ReduceOp::max)
      .value("product", ReduceOp::product)
      .value("adasum", ReduceOp::adasum)
      .finalize();
  py::native_enum<DeviceType>(module, "DeviceType", "enum.IntEnum")
      .value("cpu", DeviceType::cpu)
      .value("cuda", DeviceType::cuda)
      .finalize();
  module.def("reducescatter_rows", &reducescatter_rows);
  module.def("is_integer", &is_integer);
  module.def("size_in_bytes", &size_in_bytes);
  module.def("divide_in_place", [](std::uintptr_t address, std::size_t count, DataType dtype, int divisor) {
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    void* const values = reinterpret_cast<void*>(address);
    const py::gil_scoped_release without_gil;
    divide_in_place(values, count, dtype, divisor);
  });
}

}  // namespace hvd
