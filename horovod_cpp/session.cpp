#include "horovod_cpp/session.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string_view>
#include <thread>

#include "horovod_cpp/base/abort_latch.h"
#include "horovod_cpp/base/process_limits.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/coordinator/coordinator.h"
#include "horovod_cpp/coordinator/logbook.h"
#include "horovod_cpp/coordinator/watcher.h"
#include "horovod_cpp/coordinator/whole_groups.h"

namespace hvd {

class Session::Body {
 public:
  explicit Body(SessionParts parts)
      : parts_(std::move(parts)),
        declarations_(parts_.placement.rank, parts_.placement.size),
        logbook_(parts_.placement.rank, parts_.placement.size, declarations_, parts_.clock,
                 Log(parts_.config.log_level, parts_.placement.rank)),
        coordinator_({parts_.placement.rank, parts_.placement.size, parts_.config, *parts_.control,
                      raw(parts_.collectives), declarations_, latch_, *parts_.clock,
                      [this](const Status& why) { fail_from_coordinator(why); }, logbook_,
                      [this] { tell_picture("an operation is late"); }}) {}

  ~Body() {
    if (!is_over()) fail(Status::shut_down(text("rank ", parts_.placement.rank, parting_words())));
    if (thread_.joinable()) thread_.join();
    // A device may write to tensors until its backend is gone; only then the coordinator lets go of their memory.
    // Its thread may be within fail(), and needs the pointer.
    if (watcher_) watcher_->stop();
    watcher_.reset();
    logbook_.timeline().stop();
    coordinator_.close_process_sets();
    parts_.collectives.clear();
  }

  Status start() {
    const Config& config = parts_.config;
    if (!config.timeline.empty())
      HVD_RETURN_IF_ERROR(start_timeline(config.timeline, config.timeline_mark_cycles));
    if (!parts_.peer_links.empty() || parts_.picture_signal.is_open()) HVD_RETURN_IF_ERROR(start_watcher());
    auto thread = start_thread([this] {
      coordinator_.run();
      if (watcher_ && !latch_.is_set()) watcher_->say_goodbye();
      const std::lock_guard lock(mutex_);
      is_over_ = true;
      over_.notify_all();
    });
    HVD_RETURN_IF_ERROR(of_this_rank(thread.status()));
    thread_ = std::move(thread).value();
    return {};
  }

  // Latches the first failure, wakes everyone who blocks here, and tells the other ranks.
  void fail(const Status& why) {
    if (is_over()) return;
    const bool is_over_here = why.code() == StatusCode::shut_down;
    if (!is_over_here) logbook_.freeze(living_epochs());
    if (!latch_.set(why)) return;
    // First the reason, then the silence: peers that see a connection end should know why by then.
    if (watcher_) watcher_->announce(why);
    // Before anybody wakes, who might end this Session.
    if (!is_over_here) tell_last_picture();
    parts_.control->abort(why);
    for (const auto& collectives : parts_.collectives) collectives->abort(why);
    coordinator_.abort_process_sets(why);
    for (const auto& epochs : living_epochs()) epochs->abort(why);
  }

  void tell_last_picture() {
    const char* const why = "when the world failed";
    if (watcher_) {
      watcher_->want_last_picture(why);
    } else if (!logbook_.picture({}).pending.empty()) {
      logbook_.tell_alone(why, {});
    }
  }

  void tell_picture(const std::string& why) {
    if (watcher_) {
      watcher_->want_picture(why);
    } else {
      logbook_.tell_alone(why, living_epochs());
    }
  }

  Status start_timeline(const std::string& file, bool mark_cycles) {
    HVD_RETURN_IF_ERROR(logbook_.timeline().start(
        {file, mark_cycles, parts_.config.timeline_max_bytes, parts_.clock_offset}));
    coordinator_.notice_timeline();
    return {};
  }

  void remember(const std::shared_ptr<Epochs>& epochs) {
    {
      const std::lock_guard lock(mutex_);
      std::erase_if(epochs_, [](const auto& one) { return one.expired(); });
      epochs_.push_back(epochs);
    }
    // fail() may have walked the list already.
    if (latch_.is_set()) epochs->abort(latch_.status());
  }

  // A connection that ended may be the echo of another rank's failure, whose name is on its way over the links.
  void fail_from_coordinator(const Status& why) {
    constexpr auto kRumourDelay = std::chrono::milliseconds(500);
    const bool may_be_an_echo = why.code() == StatusCode::aborted;
    if (watcher_ && may_be_an_echo && latch_.wait(Deadline::after(kRumourDelay))) return;
    fail(why);
  }

  bool is_over() {
    const std::lock_guard lock(mutex_);
    return is_over_;
  }

  Status shutdown(Deadline deadline) {
    has_said_shutdown_ = true;
    const Status why = Status::shut_down(text("rank ", parts_.placement.rank, " has shut down"));
    for (const auto& epochs : living_epochs()) epochs->leave(why);
    coordinator_.leave();
    {
      std::unique_lock lock(mutex_);
      const auto over = [this] { return is_over_; };
      if (deadline.is_never()) {
        over_.wait(lock, over);
      } else if (!over_.wait_until(lock, deadline.when(), over)) {
        return Status::timed_out(
            text("rank ", parts_.placement.rank,
                 ": the other ranks did not shut down by the deadline; they may still be working"));
      }
    }
    return latch_.status();
  }

  SessionParts parts_;
  AbortLatch latch_;
  DeclarationTable declarations_;
  Logbook logbook_;
  Coordinator coordinator_;
  std::mutex sets_mutex_;
  int sets_asked_for_ = 0;  // guarded by sets_mutex_

 private:
  Status of_this_rank(const Status& status) const {
    return status.with_prefix(text("rank ", parts_.placement.rank, ": "));
  }

  const char* parting_words() const {
    return has_said_shutdown_ ? " shut down and stopped waiting for the other ranks (HVD_SHUTDOWN_TIMEOUT)"
                              : " ended its Session without shutdown";
  }

  Status start_watcher() {
    Watcher::Pictures pictures;
    pictures.rank = parts_.placement.rank;
    pictures.size = parts_.placement.size;
    pictures.take = [this] { return encode(logbook_.picture(living_epochs())); };
    pictures.tell = [this](const std::string& why, const std::string& words) { logbook_.tell(why, words); };
    pictures.signal = std::move(parts_.picture_signal);
    auto watcher = Watcher::create(
        std::move(parts_.peer_links), [this](const Status& why) { fail(why); }, std::move(pictures));
    HVD_RETURN_IF_ERROR(of_this_rank(watcher.status()));
    watcher_ = std::move(watcher).value();
    return of_this_rank(watcher_->start());
  }

  std::vector<std::shared_ptr<Epochs>> living_epochs() {
    std::vector<std::shared_ptr<Epochs>> living;
    const std::lock_guard lock(mutex_);
    for (const auto& one : epochs_) {
      if (auto epochs = one.lock()) living.push_back(std::move(epochs));
    }
    return living;
  }

  static std::vector<Collectives*> raw(const std::vector<std::unique_ptr<Collectives>>& owned) {
    std::vector<Collectives*> out;
    for (const auto& collectives : owned) out.push_back(collectives.get());
    return out;
  }

  std::mutex mutex_;
  std::condition_variable over_;
  bool is_over_ = false;
  std::atomic<bool> has_said_shutdown_{false};
  std::vector<std::weak_ptr<Epochs>> epochs_;
  std::thread thread_;
  std::unique_ptr<Watcher> watcher_;  // ends before everything that its callback touches
};

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

Work Session::submit(Submission submission) {
  std::vector<Submission> one;
  one.push_back(std::move(submission));
  return std::move(submit(std::move(one)).front());
}

namespace {

Declaration without_tensor(OpKind kind, std::string name, int process_set) {
  Declaration declaration;
  declaration.kind = kind;
  declaration.name = std::move(name);
  declaration.process_set = process_set;
  return declaration;
}

}  // namespace

std::vector<Work> Session::submit(std::vector<Submission> submissions) {
  DeclarationTable& declarations = body_->declarations_;
  std::vector<Begun> begun;
  for (const Submission& submission : submissions) {
    auto declaration = declarations.begin(submission.id, submission.extents);
    begun.push_back({declaration.is_ok() ? declaration.value() : nullptr, declaration.status()});
  }
  refuse_broken_groups(begun);
  std::vector<Work> work;
  std::vector<PendingOperation> operations;
  for (std::size_t i = 0; i < submissions.size(); ++i) {
    if (!begun[i].status.is_ok()) {
      if (begun[i].declaration) declarations.end(submissions[i].id);
      if (submissions[i].on_announced) submissions[i].on_announced();
      work.push_back(Work::finished(begun[i].status));
      continue;
    }
    body_->logbook_.recorder().record(Happening::submitted,
                                      static_cast<std::uint32_t>(submissions[i].id.index));
    auto state = std::make_shared<WorkState>();
    work.emplace_back(state);
    operations.push_back({std::move(begun[i].declaration), std::move(submissions[i]), std::move(state)});
  }
  if (!operations.empty()) body_->coordinator_.submit(std::move(operations));
  return work;
}

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

void Session::abort(const Status& why) { body_->fail(why); }
Status Session::status() const { return body_->latch_.status(); }
Status Session::shutdown(Deadline deadline) { return body_->shutdown(deadline); }

}  // namespace hvd
