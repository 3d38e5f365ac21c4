// Session::Body: how the parts of a Session hang together, and what happens when one of them fails. For session.cpp only.
#pragma once

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <ctime>
#include <mutex>
#include <thread>

#include "horovod_cpp/base/abort_latch.h"
#include "horovod_cpp/base/process_limits.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/coordinator/coordinator.h"
#include "horovod_cpp/coordinator/logbook.h"
#include "horovod_cpp/coordinator/watcher.h"
#include "horovod_cpp/session.h"

namespace hvd {

class Session::Body {
 public:
  explicit Body(SessionParts parts)
      : parts_(std::move(parts)),
        declarations_(parts_.placement.rank, parts_.placement.size),
        logbook_(parts_.placement.rank, parts_.placement_at_start.value_or(parts_.placement), declarations_,
                 parts_.clock, Log(parts_.config.log_level, parts_.placement.rank)),
        coordinator_({parts_.placement.rank, parts_.placement.size, parts_.config, *parts_.control,
                      raw(parts_.collectives), declarations_, latch_, *parts_.clock,
                      [this](const Status& why) { fail_from_coordinator(why); }, logbook_,
                      [this] { tell_picture("an operation is late"); },
                      [this](int rank) { return trouble_of(rank); }}) {}

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
      HVD_RETURN_IF_ERROR(
          start_timeline(config.timeline, config.timeline_mark_cycles, parts_.timeline_goes_on));
    if (parts_.peer_links || parts_.picture_signal.is_open()) HVD_RETURN_IF_ERROR(start_watcher());
    auto thread = start_thread([this] {
      coordinator_.run();
      if (watcher_ && !latch_.is_set()) watcher_->say_goodbye();
      const std::lock_guard lock(mutex_);
      processor_time_ = read(CLOCK_THREAD_CPUTIME_ID);
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

  std::string trouble_of(int rank) const { return watcher_ ? watcher_->trouble_of(rank) : ""; }

  Status start_timeline(const std::string& file, bool mark_cycles, bool goes_on = false) {
    HVD_RETURN_IF_ERROR(logbook_.timeline().start(
        {file, mark_cycles, parts_.config.timeline_max_bytes, parts_.clock_offset, goes_on}));
    const Placement& now = parts_.placement;
    if (goes_on) logbook_.timeline().note(text("from here on rank ", now.rank, " of ", now.size));
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

  std::chrono::nanoseconds processor_time() {
    const std::lock_guard lock(mutex_);
    clockid_t clock = 0;
    if (is_over_ || !thread_.joinable() || ::pthread_getcpuclockid(thread_.native_handle(), &clock) != 0)
      return processor_time_;
    return read(clock);
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
    Watcher::Waiting waiting{parts_.config.stall_warning, parts_.config.stall_shutdown, {}, {}, {}, {}};
    waiting.position = [this] { return coordinator_.position().value(); };
    waiting.look = [this] { return look_at_waiting(); };
    waiting.what = [this] { return what_it_waits_for(); };
    waiting.warn = [this](const std::string& words) { logbook_.warn(words); };
    auto watcher = Watcher::create(
        parts_.peer_links ? std::move(*parts_.peer_links) : std::vector<SecureSocket>(),
        [this](const Status& why) { fail(why); }, std::move(pictures), std::move(waiting));
    HVD_RETURN_IF_ERROR(of_this_rank(watcher.status()));
    watcher_ = std::move(watcher).value();
    return of_this_rank(watcher_->start());
  }

  std::optional<PeerMonitor::Own> look_at_waiting() {
    if (latch_.is_set()) return std::nullopt;
    PeerMonitor::Own own{coordinator_.position().value(), logbook_.waits_since(living_epochs())};
    if (has_said_shutdown_ && !is_over()) own.waits_since = Clock::time_point();
    return own;
  }

  std::string what_it_waits_for() {
    return logbook_.what_it_waits_for(living_epochs())
        .value_or(has_said_shutdown_ ? "hvd::shutdown()" : "a round of negotiation");
  }

  std::vector<std::shared_ptr<Epochs>> living_epochs() {
    std::vector<std::shared_ptr<Epochs>> living;
    const std::lock_guard lock(mutex_);
    for (const auto& one : epochs_) {
      if (auto epochs = one.lock()) living.push_back(std::move(epochs));
    }
    return living;
  }

  static std::chrono::nanoseconds read(clockid_t clock) {
    timespec time{};
    ::clock_gettime(clock, &time);
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
  }

  static std::vector<Collectives*> raw(const std::vector<std::unique_ptr<Collectives>>& owned) {
    std::vector<Collectives*> out;
    for (const auto& collectives : owned) out.push_back(collectives.get());
    return out;
  }

  std::mutex mutex_;
  std::condition_variable over_;
  bool is_over_ = false;
  std::chrono::nanoseconds processor_time_{};  // once it is over
  std::atomic<bool> has_said_shutdown_{false};
  std::vector<std::weak_ptr<Epochs>> epochs_;
  std::thread thread_;
  std::unique_ptr<Watcher> watcher_;  // ends before everything that its callback touches
};

}  // namespace hvd
