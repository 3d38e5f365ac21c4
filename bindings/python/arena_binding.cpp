#include <pybind11/stl.h>

#include <stdexcept>

#include "bindings/python/arena.h"
#include "bindings/python/bind.h"
#include "horovod_cpp/base/text.h"

namespace py = pybind11;

namespace hvd {
namespace {

// Keyword arguments of ArenaDoor(), in this order.
std::unique_ptr<ArenaDoor> start_opening(const std::shared_ptr<Membership>& membership, int process_set,
                                         std::string suffix, std::vector<std::string> names,
                                         const std::vector<DataType>& dtypes,
                                         const std::vector<std::size_t>& counts,
                                         std::vector<std::size_t> order, double backward_s, ReduceOp op,
                                         double prescale, double postscale) {
  if (dtypes.size() != names.size() || counts.size() != names.size() || order.size() != names.size()) {
    throw std::invalid_argument(text("ArenaDoor: ", names.size(), " names, ", dtypes.size(), " dtypes, ",
                                     counts.size(), " counts, ", order.size(), " in order"));
  }
  std::vector<ArenaItem> items;
  for (std::size_t i = 0; i < counts.size(); ++i) items.push_back({counts[i], dtypes[i]});
  const auto backward =
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(backward_s));
  return std::make_unique<ArenaDoor>(
      membership,
      ArenaOpening::Parts{membership->session(), process_set, std::move(items), std::move(order), backward,
                          op, prescale, postscale, false, std::move(suffix), std::move(names)});
}

}  // namespace

void bind_arena(py::module_& module) {
  py::class_<EpochOutcome>(module, "EpochOutcome")
      .def_property_readonly("is_dropped",
                             [](const EpochOutcome& o) { return o.state == EpochState::dropped; })
      .def_readonly("leaves", &EpochOutcome::leaves)
      .def_readonly("has_more", &EpochOutcome::has_more)
      .def_readonly("is_gone", &EpochOutcome::is_gone);
  py::class_<Arena, std::shared_ptr<Arena>>(module, "Arena", py::buffer_protocol())
      .def_buffer([](Arena& arena) { return arena.payload(); })
      .def("begin_bytes", &Arena::begin_bytes)
      .def("put", &Arena::put)
      .def("close", &Arena::close, py::kw_only(), py::arg("is_void") = false, py::arg("leaves") = false,
           py::arg("has_more") = false, py::arg("count") = 0)
      .def("wait", &Arena::wait, py::arg("timeout_s") = py::none())
      .def("used_somewhere", &Arena::used_somewhere)
      .def("begin_epoch", &Arena::begin_epoch);
  py::class_<ArenaDoor>(module, "ArenaDoor")
      .def(py::init(&start_opening), py::arg("session"), py::arg("process_set"), py::arg("suffix"),
           py::arg("names"), py::arg("dtypes"), py::arg("counts"), py::arg("order"), py::arg("backward_s"),
           py::arg("op"), py::arg("prescale"), py::arg("postscale"))
      .def("advance", &ArenaDoor::advance, py::arg("timeout_s") = py::none())
      .def("take", &ArenaDoor::take)
      .def_property_readonly("why", &ArenaDoor::why);
}

}  // namespace hvd
