// Membership: a Session of this process, for Python.
//
// Threading: every method needs the GIL and none waits for another rank with it.
// Fork: a child must not use what its parent opened. Every method raises RuntimeError there, and destruction leaves the parent's alone.
#pragma once

#include <pybind11/pybind11.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bindings/python/pending.h"
#include "horovod_cpp/session.h"

namespace hvd {

class Membership {
 public:
  // Meets the other ranks, as the environment says.
  static std::shared_ptr<Membership> open();
  explicit Membership(std::unique_ptr<Session> session);
  ~Membership();
  Membership(const Membership&) = delete;
  Membership& operator=(const Membership&) = delete;

  Session& session() const;

  // Of memory that is contiguous. `keep`: what must live until the operation is done. Raises ValueError if it is refused at once.
  Pending submit(std::int32_t index, std::uintptr_t input, std::uintptr_t output,
                 const pybind11::object& keep) const;
  // allgather, alltoall. `row_bytes`: of one row of the result.
  Pending submit_gather(std::int32_t index, std::uintptr_t input, const Extents& extents,
                        std::size_t row_bytes, const pybind11::object& keep) const;
  // One that has no memory. `on_announced`: called on another thread, without the GIL, once all ranks know of it (Submission).
  Pending submit_bare(std::int32_t index, std::function<void()> on_announced) const;
  // Members of one group, or any operations at once: element i of each list belongs to operation i.
  std::vector<Pending> submit_many(const std::vector<std::int32_t>& indices,
                                   const std::vector<std::uintptr_t>& inputs,
                                   const std::vector<std::uintptr_t>& outputs,
                                   const std::vector<pybind11::object>& keep) const;
  std::vector<Pending> submit_gather_many(const std::vector<std::int32_t>& indices,
                                          const std::vector<std::uintptr_t>& inputs,
                                          const std::vector<Extents>& extents,
                                          const std::vector<std::size_t>& row_bytes,
                                          const std::vector<pybind11::object>& keep) const;

  // Says goodbye and waits for the others, `timeout_s` at most; nothing: as HVD_SHUTDOWN_TIMEOUT says.
  void shutdown(std::optional<double> timeout_s) const;

 private:
  std::unique_ptr<Session> session_;
  int owner_process_;
};

}  // namespace hvd
