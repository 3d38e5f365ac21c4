#include <pybind11/stl.h>

#include "bindings/python/arena.h"
#include "bindings/python/bind.h"
#include "bindings/python/errors.h"
#include "bindings/python/membership.h"

namespace py = pybind11;

namespace hvd {
namespace {

// Keyword arguments of declare(), in this order.
std::int32_t declare(const Membership& membership, std::string name, OpKind kind, DataType dtype, Shape shape,
                     DeviceType device, int device_index, ReduceOp op, double prescale, double postscale,
                     int root, int process_set, std::string group, int group_size) {
  Declaration declaration;
  declaration.name = std::move(name);
  declaration.kind = kind;
  declaration.dtype = dtype;
  declaration.shape = std::move(shape);
  declaration.device = {device, device_index};
  declaration.op = op;
  declaration.prescale = prescale;
  declaration.postscale = postscale;
  declaration.root = root;
  declaration.process_set = process_set;
  declaration.group = std::move(group);
  declaration.group_size = group_size;
  return value_or_raise(membership.session().declare(declaration)).index;
}

}  // namespace

void bind_session(py::module_& module) {
  py::class_<Membership, std::shared_ptr<Membership>> session(module, "Session");
  session.def_static("open", &Membership::open)
      .def_property_readonly("rank", [](const Membership& m) { return m.session().rank(); })
      .def_property_readonly("size", [](const Membership& m) { return m.session().size(); })
      .def_property_readonly("local_rank",
                             [](const Membership& m) { return m.session().placement().local_rank; })
      .def_property_readonly("local_size",
                             [](const Membership& m) { return m.session().placement().local_size; })
      .def_property_readonly("cross_rank",
                             [](const Membership& m) { return m.session().placement().cross_rank; })
      .def_property_readonly("cross_size",
                             [](const Membership& m) { return m.session().placement().cross_size; })
      .def_property_readonly("backends", [](const Membership& m) { return m.session().backends(); })
      .def("crosses_wire",
           [](const Membership& m, DeviceType device) { return m.session().crosses_wire(device); })
      .def_property_readonly("wants_plans",
                             [](const Membership& m) { return m.session().config().static_plan; })
      .def("shutdown", &Membership::shutdown, py::arg("timeout_s") = py::none())
      .def("abort",
           [](const Membership& m, const std::string& why) {
             Session& session = m.session();
             const py::gil_scoped_release without_gil;
             session.abort(Status::aborted(why));
           })
      .def("check_owner", [](const Membership& m) { static_cast<void>(m.session()); })
      .def("check", [](const Membership& m) { raise_if_failed(m.session().status()); })
      .def(
          "start_timeline",
          [](const Membership& m, const std::string& file, bool mark_cycles) {
            raise_if_failed(m.session().start_timeline(file, mark_cycles));
          },
          py::arg("file"), py::arg("mark_cycles") = false)
      .def("stop_timeline", [](const Membership& m) { m.session().stop_timeline(); })
      .def("mark_step", [](const Membership& m) { m.session().mark_step(); });
  session
      .def("declare", &declare, py::arg("name"), py::arg("kind"), py::arg("dtype") = DataType::uint8,
           py::arg("shape") = Shape(), py::arg("device") = DeviceType::cpu, py::arg("device_index") = 0,
           py::arg("op") = ReduceOp::sum, py::arg("prescale") = 1.0, py::arg("postscale") = 1.0,
           py::arg("root") = 0, py::arg("process_set") = 0, py::arg("group") = "", py::arg("group_size") = 0)
      .def("submit", &Membership::submit)
      .def("submit_gather", &Membership::submit_gather)
      .def(
          "submit_bare",
          [](const Membership& m, std::int32_t index, const std::vector<std::shared_ptr<Arena>>& withdrawn) {
            return m.submit_bare(index, [withdrawn] {
              for (const auto& arena : withdrawn) arena->withdraw();
            });
          },
          py::arg("index"), py::arg("withdrawn") = std::vector<std::shared_ptr<Arena>>())
      .def("submit_many", &Membership::submit_many)
      .def("submit_gather_many", &Membership::submit_gather_many);
  session.def("process_set", [](const Membership& m, int id) { return m.session().process_set(id); })
      .def("add_process_set",
           [](const Membership& m, std::vector<int> ranks) {
             return Pending{m.session().add_process_set(std::move(ranks))};
           })
      .def("remove_process_set",
           [](const Membership& m, int id) { return Pending{m.session().remove_process_set(id)}; });
}

}  // namespace hvd
