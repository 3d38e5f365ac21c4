// What a Watcher sends, and its part in pictures.
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "horovod_cpp/coordinator/watcher.h"
#include "horovod_cpp/coordinator/watcher_messages.h"

namespace hvd {

void Watcher::say_goodbye() { send_to_all(frame(Message::goodbye, "")); }

void Watcher::announce(const Status& why) { send_to_all(frame(Message::failure, why.message())); }

void Watcher::send_to_all(const Bytes& frame) {
  for (Peer& peer : peers_) {
    if (peer.socket.is_open()) send_to(peer, frame);
  }
}

// A peer that does not read, or is gone, must not hold up this rank: its death says enough. But what it gets is whole messages.
void Watcher::send_to(Peer& peer, const Bytes& frame) {
  const std::lock_guard lock(send_mutex_);
  if (!peer.unsent.empty()) send_rest(peer);
  if (!peer.unsent.empty()) return;
  peer.unsent = frame;
  send_rest(peer);
}

void Watcher::send_rest(Peer& peer) {
  const std::size_t sent = peer.socket.send_some(peer.unsent).bytes;
  peer.unsent.erase(peer.unsent.begin(), peer.unsent.begin() + static_cast<std::ptrdiff_t>(sent));
}

// --- pictures ---

std::set<int> Watcher::linked() const {
  std::set<int> ranks;
  for (std::size_t rank = 0; rank < peers_.size(); ++rank) {
    if (peers_[rank].socket.is_open()) ranks.insert(static_cast<int>(rank));
  }
  return ranks;
}

void Watcher::open_gathering() {
  PictureGathering::Parts parts;
  parts.rank = pictures_.rank;
  parts.size = pictures_.size;
  parts.take_picture = pictures_.take;
  parts.tell = pictures_.tell;
  parts.ask = [this](int rank, bool after_failure) {
    send_to(peers_[static_cast<std::size_t>(rank)],
            frame(Message::picture_wanted, after_failure ? kAfterFailure : std::string_view()));
  };
  parts.send = [this](int rank, const Bytes& picture) {
    const std::string_view words(reinterpret_cast<const char*>(picture.data()), picture.size());
    send_to(peers_[static_cast<std::size_t>(rank)], frame(Message::picture, words));
  };
  gathering_.emplace(std::move(parts), linked());
}

void Watcher::want_picture(const std::string& why) {
  {
    const std::lock_guard lock(mail_mutex_);
    mail_.wish = why;
  }
  ::eventfd_write(mail_bell_.get(), 1);
}

void Watcher::want_last_picture(const std::string& why) {
  {
    const std::lock_guard lock(mail_mutex_);
    mail_.failure = why;
  }
  ::eventfd_write(mail_bell_.get(), 1);
}

bool Watcher::has_read(const UniqueFd& eventfd) const {
  eventfd_t count = 0;
  return ::eventfd_read(eventfd.get(), &count) == 0;
}

void Watcher::read_mail() {
  static_cast<void>(has_read(mail_bell_));
  Mail mail;
  {
    const std::lock_guard lock(mail_mutex_);
    mail = std::exchange(mail_, {});
  }
  const auto now = std::chrono::steady_clock::now();
  if (mail.failure) gathering_->fail(*mail.failure, now);
  if (mail.wish) gathering_->want(*mail.wish, now);
}

// Before this rank goes: what it was asked in the last moment, and what is being gathered.
void Watcher::end_gathering() {
  read_mail();
  gathering_->hurry(std::chrono::steady_clock::now());
}

}  // namespace hvd
