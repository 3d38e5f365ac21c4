#include "horovod_cpp/work.h"

namespace hvd {

Work Work::finished(Status status) {
  auto state = std::make_shared<WorkState>();
  state->finish(std::move(status), nullptr);
  return Work(std::move(state));
}

Status Work::wait(Deadline deadline) const {
  if (!state_->wait(deadline))
    return Status::timed_out("the operation was not complete at the deadline; it goes on");
  return state_->status();
}

}  // namespace hvd
