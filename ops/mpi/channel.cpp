#include "ops/mpi/channel.h"

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
  if (status.is_ok()) {
    status =
        channel->wait_until([&](int* finished) { return MPI_Test(&request, finished, MPI_STATUS_IGNORE); },
                            deadline, "opening a channel");
  }
  if (!status.is_ok()) {
    runtime.keep_for_ever(target);
    return status;
  }
  channel->communicator_ = *target;
  HVD_RETURN_IF_ERROR(channel->check(MPI_Comm_set_errhandler(channel->communicator_, MPI_ERRORS_RETURN),
                                     "MPI_Comm_set_errhandler", "opening a channel"));
  return channel;
}

Channel::~Channel() {
  const Runtime::Use use(runtime_);
  // Local in every MPI that we know, but only where nothing is under way.
  if (communicator_ != MPI_COMM_NULL && runtime_.status().is_ok()) MPI_Comm_free(&communicator_);
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
  runtime_.give_up(why.with_prefix(text(operation, ": ")));
  return latch_.status();
}

Status Channel::late(const char* operation) const {
  return Status::timed_out(text("rank ", rank(), ": ", operation, " over MPI with ", size(),
                                " ranks did not end before its deadline"));
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

}  // namespace hvd::mpi
