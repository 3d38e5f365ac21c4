#include "horovod_cpp/coordinator/watcher.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "horovod_cpp/base/process_limits.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/coordinator/watcher_messages.h"

namespace hvd {
namespace {

// Tags of epoll events: a rank's socket, its process (with kProcess), or the order to stop.
constexpr std::uint64_t kProcess = std::uint64_t{1} << 32;
constexpr std::uint64_t kStop = ~std::uint64_t{0};
constexpr std::uint64_t kMail = kStop - 1;
constexpr std::uint64_t kSignal = kStop - 2;

// The process at the other end, if it is on this host; 0 otherwise.
pid_t pid_of_peer(int socket) {
  ucred credentials{};
  socklen_t length = sizeof(credentials);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) return 0;
  return std::max(0, credentials.pid);
}

// Closed, and errno, if the process is not on this host, is this one (ranks as threads), or the kernel has no pidfds.
UniqueFd open_process(pid_t pid) {
  errno = 0;
  if (pid == 0 || pid == ::getpid()) return UniqueFd();
  return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

Status os_error(const char* what) {
  const bool is_limit = errno == EMFILE || errno == ENFILE || errno == ENOMEM;
  return {is_limit ? StatusCode::unavailable : StatusCode::internal,
          text("watching the other ranks: ", what, ": ", error_text(errno))};
}

}  // namespace

Result<std::unique_ptr<Watcher>> Watcher::create(std::vector<UniqueFd> links,
                                                 std::function<void(const Status&)> on_loss,
                                                 Pictures pictures) {
  std::vector<Peer> peers;
  for (UniqueFd& link : links) peers.push_back({std::move(link), UniqueFd(), {}, false, {}});
  const auto failed = [&](const char* what) {
    const Status status = os_error(what);
    const Bytes words = frame(Message::failure, text("rank ", pictures.rank, ": ", status.message()));
    for (const Peer& peer : peers)
      ::send(peer.socket.get(), words.data(), words.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
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
      UniqueFd process = open_process(pid_of_peer(peer.socket.get()));
      if (!process.is_open() && errno == EMFILE) return failed("pidfd_open");
      peer.process = std::move(process);
      if (!add(peer.socket.get(), rank)) return failed("epoll_ctl");
      if (peer.process.is_open() && !add(peer.process.get(), rank | kProcess)) return failed("epoll_ctl");
    }
  }
  return std::unique_ptr<Watcher>(new Watcher(std::move(peers), std::move(epoll), std::move(stop),
                                              std::move(mail), std::move(on_loss), std::move(pictures)));
}

Status Watcher::start() {
  open_gathering();
  auto thread = start_thread([this] { run(); });
  HVD_RETURN_IF_ERROR(thread.status());
  thread_ = std::move(thread).value();
  return {};
}

Watcher::Watcher(std::vector<Peer> peers, UniqueFd epoll, UniqueFd stop, UniqueFd mail,
                 std::function<void(const Status&)> on_loss, Pictures pictures)
    : peers_(std::move(peers)),
      epoll_(std::move(epoll)),
      stop_(std::move(stop)),
      mail_bell_(std::move(mail)),
      on_loss_(std::move(on_loss)),
      pictures_(std::move(pictures)) {}

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
                                   gathering_->next().poll_timeout_ms());
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
    const ssize_t got = ::recv(peer.socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got > 0) {
      peer.unread.insert(peer.unread.end(), buffer.begin(), buffer.begin() + got);
      parse(rank);
      continue;
    }
    if (got < 0 && errno == EINTR) continue;
    return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
  }
}

void Watcher::stop_watching(const Peer& peer) {
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, peer.socket.get(), nullptr);
  if (peer.process.is_open()) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, peer.process.get(), nullptr);
}

void Watcher::notice_end(int rank) {
  const Peer& peer = peers_[static_cast<std::size_t>(rank)];
  stop_watching(peer);
  gathering_->ended(rank, "gone");
  const pid_t pid = pid_of_peer(peer.socket.get());
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
    switch (kind) {
      case Message::goodbye:
        peer.has_ended = true;
        gathering_->ended(rank, "has shut down");
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
  lose(rank, Status::aborted(text("rank ", rank, " sent nonsense over its peer link")));
}

void Watcher::lose(int rank, const Status& why) {
  Peer& peer = peers_[static_cast<std::size_t>(rank)];
  if (std::exchange(peer.has_ended, true)) return;
  on_loss_(why);
}

}  // namespace hvd
