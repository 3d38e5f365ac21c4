#include "ops/mpi/channel.h"

#include <algorithm>

#include "horovod_cpp/base/text.h"

namespace hvd::mpi {

Result<std::unique_ptr<Channel>> Channel::open(Runtime& runtime, Deadline deadline) {
  const Runtime::Use use(runtime);
  HVD_RETURN_IF_ERROR(runtime.status());
  std::unique_ptr<Channel> channel(new Channel(runtime));
  MPI_Request request = MPI_REQUEST_NULL;
  // MPI may fill in the communicator long after an abandoned attempt: not in memory that is freed.
  const auto target = std::make_shared<MPI_Comm>(MPI_COMM_NULL);
  Status status = channel->check(MPI_Comm_idup(MPI_COMM_WORLD, target.get(), &request), "MPI_Comm_idup",
                                 "opening a channel");
  if (status.is_ok()) status = channel->wait(request, deadline, "opening a channel");
  if (!status.is_ok()) {
    runtime.keep_for_ever(target);
    return status;
  }
  HVD_RETURN_IF_ERROR(channel->adopt(*target, "opening a channel"));
  return channel;
}

Result<std::unique_ptr<Channel>> Channel::split(std::span<const int> members, Deadline deadline) {
  const Runtime::Use use(runtime_);
  HVD_RETURN_IF_ERROR(status());
  HVD_RETURN_IF_ERROR(barrier(deadline, "subgroup"));
  const bool is_member = std::binary_search(members.begin(), members.end(), rank_);
  MPI_Comm communicator = MPI_COMM_NULL;
  HVD_RETURN_IF_ERROR(
      check(MPI_Comm_split(communicator_, is_member ? 0 : MPI_UNDEFINED, rank_, &communicator),
            "MPI_Comm_split", "subgroup"));
  if (!is_member) return std::unique_ptr<Channel>();
  std::unique_ptr<Channel> channel(new Channel(runtime_));
  HVD_RETURN_IF_ERROR(channel->adopt(communicator, "subgroup"));
  return channel;
}

Status Channel::adopt(MPI_Comm communicator, const char* operation) {
  communicator_ = communicator;
  HVD_RETURN_IF_ERROR(
      check(MPI_Comm_set_errhandler(communicator, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler", operation));
  HVD_RETURN_IF_ERROR(check(MPI_Comm_rank(communicator, &rank_), "MPI_Comm_rank", operation));
  return check(MPI_Comm_size(communicator, &size_), "MPI_Comm_size", operation);
}

Channel::~Channel() {
  const Runtime::Use use(runtime_);
  // Local in every MPI that we know, but only where nothing is under way.
  if (communicator_ != MPI_COMM_NULL && runtime_.status().is_ok()) MPI_Comm_free(&communicator_);
}

std::byte* Channel::staging(std::size_t bytes) {
  if (staging_->size() < bytes) staging_->resize(bytes);
  return staging_->data();
}

void Channel::abort(const Status& why) {
  if (!latch_.set(why)) return;
  // A shut-down between operations leaves MPI as good as it was;
  // whoever is inside an operation finds out in wait_until.
  if (why.code() != StatusCode::shut_down) runtime_.give_up(why);
  bell_.ring();
}

Status Channel::status() const {
  HVD_RETURN_IF_ERROR(latch_.status());
  return runtime_.status();
}

Status Channel::check(int code, const char* call, const char* operation) {
  if (code == MPI_SUCCESS) return {};
  return fail(Status::aborted(text("rank ", rank(), ": ", operation, ": ", call, ": ", error_text(code))),
              operation);
}

Status Channel::fail(const Status& why, const char* operation) {
  latch_.set(why);
  runtime_.keep_for_ever(staging_);
  runtime_.give_up(why.with_prefix(text(operation, ": ")));
  return latch_.status();
}

Status Channel::late(const char* operation) const {
  return Status::timed_out(text("rank ", rank(), ": ", operation, " over MPI with ", size(),
                                " ranks did not end before its deadline"));
}

Status Channel::wait(MPI_Request& request, Deadline deadline, const char* operation) {
  return wait_until([&](int* finished) { return MPI_Test(&request, finished, MPI_STATUS_IGNORE); }, deadline,
                    operation);
}

Status Channel::wait_all(std::span<MPI_Request> requests, std::vector<MPI_Status>* statuses,
                         Deadline deadline, const char* operation) {
  MPI_Status* into = MPI_STATUSES_IGNORE;
  if (statuses != nullptr) {
    statuses->resize(requests.size());
    into = statuses->data();
  }
  const auto test_all = [&](int* finished) {
    const int code = MPI_Testall(static_cast<int>(requests.size()), requests.data(), finished, into);
    if (code != MPI_ERR_IN_STATUS || into == MPI_STATUSES_IGNORE) return code;
    for (const MPI_Status& status : *statuses) {
      if (status.MPI_ERROR != MPI_SUCCESS && status.MPI_ERROR != MPI_ERR_PENDING) return status.MPI_ERROR;
    }
    return code;
  };
  return wait_until(test_all, deadline, operation);
}

Status Channel::barrier(Deadline deadline, const char* operation) {
  MPI_Request pending = MPI_REQUEST_NULL;
  HVD_RETURN_IF_ERROR(check(MPI_Ibarrier(communicator_, &pending), "MPI_Ibarrier", operation));
  return wait(pending, deadline, operation);
}

}  // namespace hvd::mpi
