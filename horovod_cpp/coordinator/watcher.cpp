#include "horovod_cpp/coordinator/watcher.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "horovod_cpp/base/process_limits.h"
#include "horovod_cpp/base/socket.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/coordinator/peer_process.h"
#include "horovod_cpp/coordinator/watcher_messages.h"

namespace hvd {
namespace {

// Tags of epoll events: a rank's socket, its process (with kProcess), or the order to stop.
constexpr std::uint64_t kProcess = std::uint64_t{1} << 32;
constexpr std::uint64_t kStop = ~std::uint64_t{0};
constexpr std::uint64_t kMail = kStop - 1;
constexpr std::uint64_t kSignal = kStop - 2;

Status os_error(const char* what) {
  const bool is_limit = errno == EMFILE || errno == ENFILE || errno == ENOMEM;
  return {is_limit ? StatusCode::unavailable : StatusCode::internal,
          text("watching the other ranks: ", what, ": ", error_text(errno))};
}

// A process that dies closes its sockets first, and then is seen by its parent. Whoever notices the former must not be seen by the launcher
// before: it would be taken for the first that failed.
void let_it_die(int process) {
  constexpr int kPatienceMs = 200;
  pollfd ended{process, POLLIN, 0};
  ::poll(&ended, 1, kPatienceMs);
}

}  // namespace

Result<std::unique_ptr<Watcher>> Watcher::create(std::vector<SecureSocket> links,
                                                 std::function<void(const Status&)> on_loss,
                                                 Pictures pictures, Waiting waiting) {
  std::vector<Peer> peers;
  for (SecureSocket& link : links) {
    peers.emplace_back();
    peers.back().socket = std::move(link);
  }
  const auto failed = [&](const char* what) {
    const Status status = os_error(what);
    const Bytes words = frame(Message::failure, text("rank ", pictures.rank, ": ", status.message()));
    for (Peer& peer : peers) {
      if (peer.socket.is_open()) peer.socket.send_some(words);
    }
    return status;
  };
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.is_open()) return failed("epoll_create1");
  UniqueFd stop(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  UniqueFd mail(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop.is_open() || !mail.is_open()) return failed("eventfd");
  const auto add = [&](int fd, std::uint64_t tag) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLRDHUP;
    event.data.u64 = tag;
    return ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0;
  };
  if (!add(stop.get(), kStop) || !add(mail.get(), kMail)) return failed("epoll_ctl");
  if (pictures.signal.is_open() && !add(pictures.signal.get(), kSignal)) return failed("epoll_ctl");
  for (std::size_t rank = 0; rank < peers.size(); ++rank) {
    Peer& peer = peers[rank];
    if (peer.socket.is_open()) {
      UniqueFd process = open_process(pid_of_peer(peer.socket.fd()));
      if (!process.is_open() && errno == EMFILE) return failed("pidfd_open");
      peer.process = std::move(process);
      if (!add(peer.socket.fd(), rank)) return failed("epoll_ctl");
      if (peer.process.is_open() && !add(peer.process.get(), rank | kProcess)) return failed("epoll_ctl");
    }
  }
  return std::unique_ptr<Watcher>(new Watcher(std::move(peers), std::move(epoll), std::move(stop),
                                              std::move(mail), std::move(on_loss), std::move(pictures),
                                              std::move(waiting)));
}

Status Watcher::start() {
  open_gathering();
  monitor_.emplace(pictures_.rank, linked(), waiting_.warn_after, waiting_.end_after);
  auto thread = start_thread([this] { run(); });
  HVD_RETURN_IF_ERROR(thread.status());
  thread_ = std::move(thread).value();
  return {};
}

Watcher::Watcher(std::vector<Peer> peers, UniqueFd epoll, UniqueFd stop, UniqueFd mail,
                 std::function<void(const Status&)> on_loss, Pictures pictures, Waiting waiting)
    : peers_(std::move(peers)),
      epoll_(std::move(epoll)),
      stop_(std::move(stop)),
      mail_bell_(std::move(mail)),
      on_loss_(std::move(on_loss)),
      pictures_(std::move(pictures)),
      waiting_(std::move(waiting)) {}

Watcher::~Watcher() { stop(); }

void Watcher::stop() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(stop_.get(), &one, sizeof(one));
  if (thread_.joinable()) thread_.join();
}

void Watcher::run() {
  std::array<epoll_event, 64> events{};
  bool is_stopping = false;
  while (!is_stopping || gathering_->is_busy()) {
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                   gathering_->next().earlier(monitor_->next()).poll_timeout_ms());
    if (count < 0 && errno != EINTR) {
      on_loss_(os_error("epoll_wait"));
      return;
    }
    for (int i = 0; i < count; ++i) {
      const std::uint64_t tag = events.at(static_cast<std::size_t>(i)).data.u64;
      if (tag == kStop) {
        ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, stop_.get(), nullptr);
        is_stopping = true;
      } else {
        handle(tag);
      }
    }
    if (is_stopping) end_gathering();
    if (monitor_->next().passed()) look_at_peers();
    gathering_->advance(std::chrono::steady_clock::now());
  }
}

void Watcher::handle(std::uint64_t tag) {
  if (tag == kMail) return read_mail();
  if (tag == kSignal) {
    if (has_read(pictures_.signal)) gathering_->want("SIGUSR1", std::chrono::steady_clock::now());
    return;
  }
  const auto rank = static_cast<int>(tag & ~kProcess);
  const bool is_open = read_from(rank);
  if (!is_open || (tag & kProcess) != 0) notice_end(rank);
}

bool Watcher::read_from(int rank) {
  Peer& peer = peers_[static_cast<std::size_t>(rank)];
  std::array<std::byte, 4096> buffer{};
  while (true) {
    const Progress got = receive_some(peer, buffer);
    if (got.bytes == 0) {
      peer.error = got.error;
      return got.is_open;
    }
    peer.unread.insert(peer.unread.end(), buffer.begin(),
                       buffer.begin() + static_cast<std::ptrdiff_t>(got.bytes));
    parse(rank);
  }
}

Progress Watcher::receive_some(Peer& peer, std::span<std::byte> bytes) {
  const std::lock_guard lock(send_mutex_);
  return peer.socket.receive_some(bytes);
}

void Watcher::stop_watching(const Peer& peer) {
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, peer.socket.fd(), nullptr);
  if (peer.process.is_open()) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, peer.process.get(), nullptr);
}

void Watcher::notice_end(int rank) {
  const Peer& peer = peers_[static_cast<std::size_t>(rank)];
  stop_watching(peer);
  if (peer.process.is_open() && !peer.has_ended) let_it_die(peer.process.get());
  const bool is_silent = is_silence_of_host(peer.error);
  gathering_->ended(rank, is_silent ? "on a host that does not answer" : "gone");
  monitor_->ended(rank);
  if (is_silent) {
    return lose(rank,
                Status::aborted(text("the host of rank ", rank, " does not answer (", error_text(peer.error),
                                     "): it is down, or the network between it "
                                     "and the host of rank ",
                                     pictures_.rank,
                                     ". HVD_HEARTBEAT_TIMEOUT_SECONDS says how long it may be silent.")));
  }
  const pid_t pid = pid_of_peer(peer.socket.fd());
  lose(rank, Status::aborted(
                 text("rank ", rank, pid > 0 ? text(" (pid ", pid, ")") : "",
                      " is gone: it was killed, crashed or exited without hvd::shutdown(). Its own output or "
                      "the launcher's last lines say why.")));
}

void Watcher::parse(int rank) {
  Peer& peer = peers_[static_cast<std::size_t>(rank)];
  while (!peer.unread.empty()) {
    ByteReader in(peer.unread);
    const auto kind = in.get<Message>();
    const std::string words = in.get_text();
    if (in.failed()) {
      // Either the rest of the message is still on its way, or it is longer than any of ours.
      if (peer.unread.size() <= kMaxTextBytes + sizeof(Message) + sizeof(std::uint32_t)) return;
      return refuse(rank);
    }
    peer.unread.erase(peer.unread.begin(), peer.unread.end() - static_cast<std::ptrdiff_t>(in.remaining()));
    monitor_->heard(rank);
    switch (kind) {
      case Message::goodbye:
        peer.has_ended = true;
        gathering_->ended(rank, "has shut down");
        monitor_->ended(rank);
        break;
      case Message::failure:
        lose(rank, Status::aborted(words));
        break;
      case Message::picture_wanted:
        gathering_->asked_by(rank, std::chrono::steady_clock::now(), words == kAfterFailure);
        break;
      case Message::picture:
        gathering_->received(rank, std::as_bytes(std::span(words)));
        break;
      case Message::are_you_there:
        monitor_->asked_by(rank);
        send_to(peer, frame(Message::here, words_of_position(waiting_.position())));
        break;
      case Message::here: {
        const auto position = position_in_words(words);
        if (!position) return refuse(rank);
        monitor_->answered(rank, *position);
        break;
      }
      default:
        return refuse(rank);
    }
  }
}

void Watcher::refuse(int rank) {
  Peer& peer = peers_[static_cast<std::size_t>(rank)];
  peer.unread.clear();
  stop_watching(peer);
  gathering_->ended(rank, "sent nonsense");
  monitor_->ended(rank);
  lose(rank, Status::aborted(text("rank ", rank, " sent nonsense over its peer link")));
}

void Watcher::lose(int rank, const Status& why) {
  Peer& peer = peers_[static_cast<std::size_t>(rank)];
  if (std::exchange(peer.has_ended, true)) return;
  on_loss_(why);
}

}  // namespace hvd
