#include "horovod_cpp/session.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string_view>
#include <thread>

#include "horovod_cpp/base/abort_latch.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/coordinator/coordinator.h"
#include "horovod_cpp/coordinator/watcher.h"

namespace hvd {

class Session::Body {
 public:
  explicit Body(SessionParts parts)
      : parts_(std::move(parts)),
        declarations_(parts_.placement.rank, parts_.placement.size),
        coordinator_({parts_.placement.rank, parts_.placement.size, parts_.config, *parts_.control,
                      raw(parts_.collectives), declarations_, latch_, *parts_.clock,
                      [this](const Status& why) { fail_from_coordinator(why); }}) {}

  ~Body() {
    if (!is_over()) fail(Status::shut_down(text("rank ", parts_.placement.rank, parting_words())));
    if (thread_.joinable()) thread_.join();
  }

  Status start() {
    if (!parts_.peer_links.empty()) {
      auto watcher = Watcher::create(std::move(parts_.peer_links), [this](const Status& why) { fail(why); });
      HVD_RETURN_IF_ERROR(watcher.status());
      watcher_ = std::move(watcher).value();
      watcher_->start();
    }
    thread_ = std::thread([this] {
      coordinator_.run();
      if (watcher_ && !latch_.is_set()) watcher_->say_goodbye();
      const std::lock_guard lock(mutex_);
      is_over_ = true;
      over_.notify_all();
    });
    return {};
  }

  // Latches the first failure, wakes everyone who blocks here, and tells the other ranks.
  void fail(const Status& why) {
    if (is_over() || !latch_.set(why)) return;
    // First the reason, then the silence: peers that see a connection end should know why by then.
    if (watcher_) watcher_->announce(why);
    parts_.control->abort(why);
    for (const auto& collectives : parts_.collectives) collectives->abort(why);
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
  Coordinator coordinator_;

 private:
  const char* parting_words() const {
    return has_said_shutdown_ ? " shut down and stopped waiting for the other ranks (HVD_SHUTDOWN_TIMEOUT)"
                              : " ended its Session without shutdown";
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

std::vector<Work> Session::submit(std::vector<Submission> submissions) {
  std::vector<Work> work;
  std::vector<Coordinator::Item> items;
  for (Submission& submission : submissions) {
    auto declaration = body_->declarations_.begin(submission.id);
    if (!declaration.is_ok()) {
      work.push_back(Work::finished(declaration.status()));
      continue;
    }
    auto state = std::make_shared<WorkState>();
    work.emplace_back(state);
    items.push_back({std::move(declaration).value(), std::move(submission), std::move(state)});
  }
  if (!items.empty()) body_->coordinator_.submit(std::move(items));
  return work;
}

void Session::abort(const Status& why) { body_->fail(why); }
Status Session::status() const { return body_->latch_.status(); }
Status Session::shutdown(Deadline deadline) { return body_->shutdown(deadline); }

}  // namespace hvd
