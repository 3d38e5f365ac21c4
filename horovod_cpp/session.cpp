#include "horovod_cpp/session.h"

#include <algorithm>
#include <string_view>

#include "horovod_cpp/base/rank_list.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/coordinator/whole_groups.h"
#include "horovod_cpp/session_body.h"

namespace hvd {

Session::Session(std::unique_ptr<Body> body) : body_(std::move(body)) {}
Session::~Session() = default;

Result<std::unique_ptr<Session>> Session::create(SessionParts parts) {
  auto body = std::make_unique<Body>(std::move(parts));
  if (const Status status = body->start(); !status.is_ok()) {
    body->fail(status);
    return status;
  }
  return std::unique_ptr<Session>(new Session(std::move(body)));
}

int Session::rank() const { return body_->parts_.placement.rank; }
int Session::size() const { return body_->parts_.placement.size; }
const Placement& Session::placement() const { return body_->parts_.placement; }
const Config& Session::config() const { return body_->parts_.config; }

std::string Session::backends() const {
  std::string out = text("control ", body_->parts_.control->name());
  for (const auto& collectives : body_->parts_.collectives) {
    out += text(", ", collectives->device_type() == DeviceType::cpu ? "cpu " : "cuda ", collectives->name());
  }
  return out;
}

bool Session::crosses_wire(DeviceType type) const {
  if (size() == 1) return false;
  for (const auto& collectives : body_->parts_.collectives) {
    if (collectives->device_type() == type) return std::string_view(collectives->name()) != "shm";
  }
  return true;
}

Result<TensorId> Session::declare(const Declaration& declaration) {
  return body_->declarations_.declare(declaration);
}

namespace {

std::vector<Submission> only(Submission submission) {
  std::vector<Submission> one;
  one.push_back(std::move(submission));
  return one;
}

Declaration without_tensor(OpKind kind, std::string name, int process_set) {
  Declaration declaration;
  declaration.kind = kind;
  declaration.name = std::move(name);
  declaration.process_set = process_set;
  return declaration;
}

}  // namespace

// What was refused has ended already.
struct Session::Accepted {
  std::vector<Work> work;
  std::vector<PendingOperation> operations;
};

Session::Accepted Session::accept(std::vector<Submission> submissions) {
  DeclarationTable& declarations = body_->declarations_;
  std::vector<Begun> begun;
  for (const Submission& submission : submissions) {
    auto declaration = declarations.begin(submission.id, submission.extents);
    begun.push_back({declaration.is_ok() ? declaration.value() : nullptr, declaration.status()});
  }
  refuse_broken_groups(begun);
  Accepted out;
  for (std::size_t i = 0; i < submissions.size(); ++i) {
    if (!begun[i].status.is_ok()) {
      if (begun[i].declaration) declarations.end(submissions[i].id);
      if (submissions[i].on_announced) submissions[i].on_announced();
      out.work.push_back(Work::finished(begun[i].status));
      continue;
    }
    body_->logbook_.recorder().record(Happening::submitted,
                                      static_cast<std::uint32_t>(submissions[i].id.index));
    auto state = std::make_shared<WorkState>();
    out.work.emplace_back(state);
    out.operations.push_back({std::move(begun[i].declaration), std::move(submissions[i]), std::move(state)});
  }
  return out;
}

std::vector<Work> Session::submit(std::vector<Submission> submissions) {
  Accepted accepted = accept(std::move(submissions));
  if (!accepted.operations.empty()) body_->coordinator_.submit(std::move(accepted.operations));
  return std::move(accepted.work);
}

Work Session::submit(Submission submission) { return std::move(submit(only(std::move(submission))).front()); }

std::vector<Work> Session::call(std::vector<Submission> submissions) {
  Accepted accepted = accept(std::move(submissions));
  const std::vector<Work>& work = accepted.work;
  if (!accepted.operations.empty()) {
    body_->coordinator_.call(std::move(accepted.operations), [&work] {
      return std::ranges::all_of(work, [](const Work& one) { return one.done(); });
    });
  }
  for (const Work& one : work) static_cast<void>(one.wait());
  return std::move(accepted.work);
}

Work Session::call(Submission submission) { return std::move(call(only(std::move(submission))).front()); }

Work Session::submit(const Declaration& declaration) {
  const auto id = declare(declaration);
  if (!id.is_ok()) return Work::finished(id.status());
  Submission submission;
  submission.id = id.value();
  return submit(std::move(submission));
}

std::optional<std::vector<int>> Session::process_set(int id) const {
  return body_->declarations_.members(id);
}

Work Session::add_process_set(std::vector<int> ranks) {
  std::sort(ranks.begin(), ranks.end());
  const std::lock_guard lock(body_->sets_mutex_);
  // A name that ranks have in common even if they disagree on the members: otherwise each would wait for the others'.
  Declaration declaration =
      without_tensor(OpKind::add_process_set, text("number ", body_->sets_asked_for_ + 1), 0);
  declaration.ranks = std::move(ranks);
  Work work = submit(declaration);
  // What is refused at the call is no news to the others.
  const bool is_refused = work.done() && work.wait().code() == StatusCode::invalid_argument;
  if (!is_refused) ++body_->sets_asked_for_;
  return work;
}

Work Session::remove_process_set(int id) {
  return submit(without_tensor(OpKind::remove_process_set, text("process set ", id), id));
}

Work Session::join(int process_set) { return submit(without_tensor(OpKind::join, "join", process_set)); }

Work Session::barrier(int process_set) {
  return submit(without_tensor(OpKind::barrier, "barrier", process_set));
}

Work Session::open_epochs(const std::string& name, EpochPlan plan, int process_set,
                          std::function<void(std::shared_ptr<Epochs>)> take) {
  Declaration declaration = without_tensor(OpKind::share_memory, name, process_set);
  declaration.shape = {static_cast<std::int64_t>(EpochLayout(plan).total_bytes), fingerprint_of(plan)};
  const auto id = declare(declaration);
  if (!id.is_ok()) return Work::finished(id.status());
  Submission submission;
  submission.id = id.value();
  submission.take_memory = [body = body_.get(), name, plan = std::move(plan), process_set,
                            take = std::move(take)](std::unique_ptr<RegisteredMemory> memory) {
    const std::vector<int> ranks = *body->declarations_.members(process_set);
    const EpochsRecord record{body->logbook_.shared_recorder(),
                              body->logbook_.recorder().add_plan(name, plan.contents)};
    const auto epochs = std::make_shared<Epochs>(
        std::move(memory), plan, ranks, SpinLimits::for_ranks(static_cast<int>(ranks.size())), record);
    body->remember(epochs);
    take(epochs);
  };
  return submit(std::move(submission));
}

Status Session::start_timeline(const std::string& file, bool mark_cycles) {
  return body_->start_timeline(file, mark_cycles);
}
void Session::stop_timeline() { body_->logbook_.timeline().stop(); }
void Session::mark_step() { body_->logbook_.recorder().mark_step(); }
void Session::tell_picture(const std::string& why) { body_->tell_picture(why); }

std::chrono::nanoseconds Session::time_in_backends() const { return body_->coordinator_.time_in_backends(); }
std::chrono::nanoseconds Session::processor_time() const { return body_->processor_time(); }
std::string Session::trouble_of(int rank) const { return body_->trouble_of(rank); }

void Session::abort(const Status& why) { body_->fail(why); }
Status Session::status() const { return body_->latch_.status(); }
Status Session::shutdown(Deadline deadline) { return body_->shutdown(deadline); }

}  // namespace hvd
