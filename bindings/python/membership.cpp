#include "bindings/python/membership.h"

#include <unistd.h>

#include <numeric>
#include <stdexcept>

#include "bindings/python/errors.h"
#include "bindings/python/interruptible.h"
#include "bindings/python/release_queue.h"
#include "bindings/python/seconds.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/world.h"

namespace py = pybind11;

namespace hvd {
namespace {

// Python has addresses as numbers.
const void* readable(std::uintptr_t address) {
  // NOLINTNEXTLINE(performance-no-int-to-ptr)
  return reinterpret_cast<const void*>(address);
}
void* writable(std::uintptr_t address) {
  // NOLINTNEXTLINE(performance-no-int-to-ptr)
  return reinterpret_cast<void*>(address);
}

Submission submission_of(std::int32_t index, std::uintptr_t input, const py::object& keep) {
  Submission submission;
  submission.id = {index};
  submission.input = readable(input);
  submission.keep_alive = keep_until_released(keep);
  return submission;
}

struct Gathering {
  Submission submission;
  std::shared_ptr<GatheredMemory> memory;
};

Gathering gathering_of(std::int32_t index, std::uintptr_t input, const Extents& extents,
                       std::size_t row_bytes, const py::object& keep) {
  Gathering gathering{submission_of(index, input, keep), std::make_shared<GatheredMemory>()};
  gathering.submission.extents = extents;
  gathering.submission.allocate = [memory = gathering.memory, row_bytes](std::span<const std::int64_t> rows) {
    const std::int64_t sum = std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
    return memory->allocate(static_cast<std::size_t>(sum) * row_bytes);
  };
  return gathering;
}

// What was refused at the call is the caller's to hear there. What else has ended the Work by now is told by the wait.
void raise_if_refused(const Work& work) {
  if (!work.done()) return;
  const Status status = work.wait();
  if (status.code() == StatusCode::invalid_argument) raise_if_failed(status);
}

void check_lengths(std::size_t expected, std::initializer_list<std::size_t> lengths) {
  for (const std::size_t length : lengths) {
    if (length != expected)
      throw std::invalid_argument(text("lists of ", expected, " and ", length, " operations"));
  }
}

}  // namespace

std::shared_ptr<Membership> Membership::open() {
  auto session = run_interruptibly<std::shared_ptr<Result<std::unique_ptr<Session>>>>(
      [] { return std::make_shared<Result<std::unique_ptr<Session>>>(open_session()); });
  return std::make_shared<Membership>(value_or_raise(std::move(*session)));
}

Membership::Membership(std::unique_ptr<Session> session)
    : session_(std::move(session)), owner_process_(::getpid()) {}

Membership::~Membership() {
  // The Session's threads do not exist in a forked child; joining them would never end.
  if (::getpid() != owner_process_) static_cast<void>(session_.release());
}

Session& Membership::session() const {
  if (::getpid() != owner_process_) {
    throw std::runtime_error(text(
        "rank ", session_->rank(), ": process ", ::getpid(), " was forked from process ", owner_process_,
        ", which had called horovod_cpp's init(). A forked child cannot communicate: fork before init(), or "
        "start the child with the method 'spawn'"));
  }
  return *session_;
}

Pending Membership::submit(std::int32_t index, std::uintptr_t input, std::uintptr_t output,
                           const py::object& keep) const {
  drop_released_objects();
  Submission submission = submission_of(index, input, keep);
  submission.output = writable(output);
  Pending pending{session().submit(std::move(submission))};
  raise_if_refused(pending.work);
  return pending;
}

Pending Membership::submit_gather(std::int32_t index, std::uintptr_t input, const Extents& extents,
                                  std::size_t row_bytes, const py::object& keep) const {
  drop_released_objects();
  Gathering gathering = gathering_of(index, input, extents, row_bytes, keep);
  Pending pending{session().submit(std::move(gathering.submission)), std::move(gathering.memory)};
  raise_if_refused(pending.work);
  return pending;
}

Pending Membership::submit_bare(std::int32_t index, std::function<void()> on_announced) const {
  drop_released_objects();
  Submission submission = submission_of(index, 0, py::none());
  submission.on_announced = std::move(on_announced);
  Pending pending{session().submit(std::move(submission))};
  raise_if_refused(pending.work);
  return pending;
}

std::vector<Pending> Membership::submit_many(const std::vector<std::int32_t>& indices,
                                             const std::vector<std::uintptr_t>& inputs,
                                             const std::vector<std::uintptr_t>& outputs,
                                             const std::vector<py::object>& keep) const {
  drop_released_objects();
  check_lengths(indices.size(), {inputs.size(), outputs.size(), keep.size()});
  std::vector<Submission> submissions;
  submissions.reserve(indices.size());
  for (std::size_t i = 0; i < indices.size(); ++i) {
    submissions.push_back(submission_of(indices[i], inputs[i], keep[i]));
    submissions.back().output = writable(outputs[i]);
  }
  std::vector<Pending> pending;
  for (Work& work : session().submit(std::move(submissions))) pending.push_back({std::move(work)});
  for (const Pending& one : pending) raise_if_refused(one.work);
  return pending;
}

std::vector<Pending> Membership::submit_gather_many(const std::vector<std::int32_t>& indices,
                                                    const std::vector<std::uintptr_t>& inputs,
                                                    const std::vector<Extents>& extents,
                                                    const std::vector<std::size_t>& row_bytes,
                                                    const std::vector<py::object>& keep) const {
  drop_released_objects();
  check_lengths(indices.size(), {inputs.size(), extents.size(), row_bytes.size(), keep.size()});
  std::vector<Submission> submissions;
  std::vector<Pending> pending(indices.size());
  for (std::size_t i = 0; i < indices.size(); ++i) {
    Gathering gathering = gathering_of(indices[i], inputs[i], extents[i], row_bytes[i], keep[i]);
    submissions.push_back(std::move(gathering.submission));
    pending[i].gathered = std::move(gathering.memory);
  }
  std::vector<Work> works = session().submit(std::move(submissions));
  for (std::size_t i = 0; i < works.size(); ++i) pending[i].work = std::move(works[i]);
  for (const Pending& one : pending) raise_if_refused(one.work);
  return pending;
}

void Membership::shutdown(std::optional<double> timeout_s) const {
  const Deadline deadline = timeout_s ? deadline_after(timeout_s) : session().config().shutdown_deadline();
  Status outcome;
  wait_interruptibly(deadline, [this, &outcome](Deadline slice) {
    outcome = session().shutdown(slice);
    return outcome.code() != StatusCode::timed_out;
  });
  drop_released_objects();
  raise_if_failed(outcome);
}

}  // namespace hvd
