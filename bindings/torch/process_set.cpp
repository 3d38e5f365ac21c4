#include "horovod_cpp/torch/process_set.h"

#include <stdexcept>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/coordinator/process_sets.h"
#include "horovod_cpp/session.h"
#include "horovod_cpp/torch/errors.h"

namespace hvd {

std::vector<int> ProcessSet::ranks() const {
  auto ranks = (context_ ? context_ : context())->session().process_set(id_);
  if (!ranks)
    throw std::invalid_argument(
        text("there is no process set ", id_, ": it was removed, or is from before hvd::shutdown()"));
  return *std::move(ranks);
}

int ProcessSet::rank() const { return position_in(ranks(), (context_ ? context_ : context())->rank()); }

ProcessSet add_process_set(const std::vector<int>& ranks, const std::shared_ptr<Context>& context) {
  ProcessSet set;
  set.context_ = context;
  const Work work = (context ? context : hvd::context())->session().add_process_set(ranks);
  throw_if_failed(work.wait());
  set.id_ = static_cast<int>(work.result().front());
  return set;
}

void remove_process_set(const ProcessSet& set, const std::shared_ptr<Context>& context) {
  throw_if_failed((context ? context : hvd::context())->session().remove_process_set(set.id()).wait());
}

}  // namespace hvd
