// A Watcher's part in waiting: whom it asks, and what it makes of the answers.
#include "horovod_cpp/base/rank_list.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/coordinator/peer_process.h"
#include "horovod_cpp/coordinator/position.h"
#include "horovod_cpp/coordinator/watcher.h"
#include "horovod_cpp/coordinator/watcher_messages.h"

namespace hvd {
namespace {

constexpr const char* kAsked = "; ended because HVD_STALL_SHUTDOWN_TIME_SECONDS asks for it";

}  // namespace

void Watcher::look_at_peers() {
  const PeerMonitor::Findings findings = monitor_->look(std::chrono::steady_clock::now(), waiting_.look());
  for (const int rank : findings.to_ask) {
    send_to(peers_[static_cast<std::size_t>(rank)], frame(Message::are_you_there, ""));
  }
  for (const PeerMonitor::Silent& silent : findings.silent) tell_of(silent);
  if (findings.held_up) tell_of(*findings.held_up);
}

std::string Watcher::trouble_of(int rank) const {
  return trouble_of_process(pid_of_peer(peers_[static_cast<std::size_t>(rank)].socket.fd()));
}

void Watcher::tell_of(const PeerMonitor::Silent& silent) {
  const pid_t pid = pid_of_peer(peers_[static_cast<std::size_t>(silent.rank)].socket.fd());
  const std::string trouble = trouble_of_process(pid);
  const std::string story =
      text("rank ", silent.rank, pid > 0 ? text(" (pid ", pid, ")") : "", " has not answered for ",
           silent.time.count(),
           " s: ", trouble.empty() ? "its process is stopped, or gets no processor or memory" : trouble,
           ". Rank ", pictures_.rank, " waits in ", waiting_.what());
  if (silent.is_to_be_told) {
    waiting_.warn(story);
    gathering_->want("a rank does not answer", std::chrono::steady_clock::now());
  }
  if (!silent.ends_the_job) return;
  gathering_->ended(silent.rank, text("given up, without an answer for ", silent.time.count(), " s"));
  monitor_->ended(silent.rank);
  lose(silent.rank, Status::aborted(story + kAsked));
}

void Watcher::tell_of(const PeerMonitor::HeldUp& held_up) {
  const bool is_negotiating = Position::is_negotiating(waiting_.position());
  const std::string story = text(
      "rank ", pictures_.rank, " has been ",
      is_negotiating ? "in a round of negotiation" : text("in ", waiting_.what()), " for ",
      held_up.time.count(), " s; ",
      held_up.by.empty()
          ? "no other rank is behind it"
          : text(name_of_ranks(held_up.by), held_up.by.size() == 1 ? " lives, but has" : " live, but have",
                 " not come to it: something before it, or a callback, does not end there"));
  if (held_up.is_to_be_told) {
    waiting_.warn(story);
    gathering_->want("an operation is late", std::chrono::steady_clock::now());
  }
  if (held_up.ends_the_job) on_loss_(Status::aborted(story + kAsked));
}

}  // namespace hvd
