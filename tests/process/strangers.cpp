#include "tests/process/strangers.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <sstream>

#include "horovod_cpp/base/text.h"
#include "horovod_cpp/rendezvous/protocol.h"
#include "horovod_cpp/secure/secure_socket.h"
#include "horovod_cpp/transport/framing/messages.h"
#include "horovod_cpp/transport/tcp/handshake.h"

namespace hvd {
namespace {

namespace protocol = rendezvous_protocol;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kAtOnce = 400;
// Of these so many never end: they say a byte now and then, and wait to be thrown out.
constexpr std::size_t kSlowAtOnce = 300;
constexpr auto kLongestAnswer = std::chrono::milliseconds(300);
constexpr auto kSlowInterval = std::chrono::milliseconds(50);

template <class T>
Bytes bytes_of(const T& value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  return {bytes.begin(), bytes.end()};
}

Bytes joined(std::initializer_list<Bytes> pieces) {
  Bytes out;
  for (const Bytes& piece : pieces) out.insert(out.end(), piece.begin(), piece.end());
  return out;
}

// A different address of this host each time: 10^6 connections would use up the ports of one.
void bind_somewhere(int socket, std::uint64_t random) {
  const int on = 1;
  ::setsockopt(socket, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
  sockaddr_in source{};
  source.sin_family = AF_INET;
  source.sin_addr.s_addr = htonl(0x7f000002U + static_cast<std::uint32_t>(random % 0xfffff0U));
  static_cast<void>(::bind(socket, reinterpret_cast<const sockaddr*>(&source), sizeof(source)));
}

// With a reset: no state of it stays behind in the kernel.
void close_at_once(UniqueFd& socket) {
  const linger now{1, 0};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  socket.reset();
}

}  // namespace

Bytes recorded_hello(const std::string& job_key) {
  int pair[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) return {};
  const UniqueFd recorder(pair[1]);
  auto socket =
      SecureSocket::over_tls(UniqueFd(pair[0]), SecureSocket::Side::connects, protocol::tls_key(job_key));
  if (!socket.is_ok() || !socket->handshake().is_ok()) return {};
  Bytes hello(4096);
  hello.resize(receive_some(recorder.get(), hello).bytes);
  return hello;
}

std::vector<Bytes> words_of_strangers() {
  std::vector<Bytes> words;
  protocol::Hello hello;
  hello.size = 3;
  words.push_back(protocol::encode(hello));
  words.push_back(protocol::encode_ask());
  ByteWriter giant;
  giant.put(protocol::kMagic);
  giant.put(protocol::MessageType::hello);
  giant.put(~std::uint64_t{0});
  words.push_back(giant.take());
  words.push_back(bytes_of(MessageHeader{MessageKind::all_gather, 0, std::uint64_t{1} << 40U}));
  // A TLS record that announces more than there may be in one, and one that is whole and makes no sense.
  words.push_back(
      {std::byte{0x16}, std::byte{3}, std::byte{1}, std::byte{0xff}, std::byte{0xff}, std::byte{1}});
  words.push_back(
      joined({{std::byte{0x16}, std::byte{3}, std::byte{1}, std::byte{0}, std::byte{64}}, Bytes(64)}));
  for (const LinkPurpose purpose : {LinkPurpose::control, LinkPurpose::life}) {
    for (int from = 0; from < 3; ++from) {
      for (int to = 0; to < 3; ++to) {
        const auto greeting = make_greeting(from, to, 3, purpose);
        if (from == to || !greeting.is_ok()) continue;
        const KeyedHash proof = prove("another key", LinkSide::connected, greeting.value(), greeting.value());
        words.push_back(joined({bytes_of(greeting.value()), bytes_of(proof)}));
      }
    }
  }
  for (int i = 0; i < 8; ++i) words.push_back(recorded_hello(text("another key ", i)));
  const std::string plain = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
  const auto plain_bytes = std::as_bytes(std::span(plain));
  words.emplace_back(plain_bytes.begin(), plain_bytes.end());
  words.emplace_back();
  return words;
}

class Strangers::Body {
 public:
  Body(std::vector<Bytes> words, std::uint64_t seed)
      : words_(std::move(words)), random_(seed), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}

  void hammer(const std::vector<SocketAddress>& targets, long count, const std::function<bool()>& is_over) {
    const long last = counts_.connections + counts_.failed + count;
    while (true) {
      const bool is_last = counts_.connections + counts_.failed >= last || is_over();
      while (!is_last && strangers_.size() < kAtOnce) begin(targets[random_() % targets.size()]);
      serve_all();
      if (is_last) break;
    }
  }
  const Counts& counts() const { return counts_; }

 private:
  struct Stranger {
    UniqueFd socket;
    Bytes words;
    bool is_connected = false;
    bool is_slow = false;
    bool waits = false;  // for an answer
    std::size_t sent = 0;
    Clock::time_point until;
  };

  void begin(const SocketAddress& target) {
    Stranger stranger;
    stranger.socket = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int fd = stranger.socket.get();
    bind_somewhere(fd, random_());
    if (fd < 0 || (::connect(fd, target.data(), target.length_bytes()) != 0 && errno != EINPROGRESS)) {
      ++counts_.failed;
      return;
    }
    stranger.words = next_words();
    stranger.is_slow = slow_ < kSlowAtOnce && random_() % 4 == 0;
    slow_ += stranger.is_slow ? 1 : 0;
    stranger.waits = random_() % 4 != 0;
    stranger.until = Clock::now() + kLongestAnswer;
    epoll_event event{};
    event.events = EPOLLOUT;
    event.data.fd = fd;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0) strangers_[fd] = std::move(stranger);
  }

  // As they are, cut, changed, twice, or nothing but chance.
  Bytes next_words() {
    Bytes words = words_[random_() % words_.size()];
    switch (random_() % 6) {
      case 0:
        words.resize(random_() % (words.size() + 1));
        break;
      case 1:
        for (std::uint64_t i = 1 + random_() % 4; i > 0 && !words.empty(); --i)
          words[random_() % words.size()] = static_cast<std::byte>(random_());
        break;
      case 2:
        words.insert(words.end(), words.begin(), words.end());
        break;
      case 3:
        words.resize(random_() % 600);
        for (std::byte& byte : words) byte = static_cast<std::byte>(random_());
        break;
      default:
        break;
    }
    return words;
  }

  void serve_all() {
    std::array<epoll_event, kAtOnce> events{};
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 1);
    for (int i = 0; i < count; ++i) {
      const auto& event = events.at(static_cast<std::size_t>(i));
      const auto found = strangers_.find(event.data.fd);
      if (found != strangers_.end() && !serve(found->second)) end(found);
    }
    const auto now = Clock::now();
    for (auto at = strangers_.begin(); at != strangers_.end();) {
      const auto here = at++;
      Stranger& stranger = here->second;
      if (now < stranger.until) continue;
      if (!stranger.is_slow || !stranger.is_connected || !says_a_byte(stranger)) end(here);
    }
  }

  // False: it has said what it wanted, or was thrown out.
  bool serve(Stranger& stranger) {
    const int fd = stranger.socket.get();
    if (!stranger.is_connected) {
      if (pending_error(fd) != 0) return false;
      stranger.is_connected = true;
      ++counts_.connections;
      if (stranger.is_slow) {
        if (!says_a_byte(stranger)) return false;
      } else {
        counts_.bytes += static_cast<long>(send_some(fd, stranger.words).bytes);
        if (!stranger.waits) return false;
      }
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.fd = fd;
      return ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0;
    }
    Bytes answer(4096);
    const Progress progress = receive_some(fd, answer);
    if (!progress.is_open) ++counts_.refused;
    return progress.is_open;
  }

  bool says_a_byte(Stranger& stranger) {
    stranger.until = Clock::now() + kSlowInterval;
    if (stranger.sent >= stranger.words.size()) return true;
    ++counts_.bytes;
    return send_some(stranger.socket.get(), std::span(stranger.words).subspan(stranger.sent++, 1)).is_open;
  }

  void end(std::map<int, Stranger>::iterator at) {
    if (!at->second.is_connected) ++counts_.failed;
    slow_ -= at->second.is_slow ? 1 : 0;
    close_at_once(at->second.socket);
    strangers_.erase(at);
  }

  const std::vector<Bytes> words_;
  std::mt19937_64 random_;
  const UniqueFd epoll_;
  std::map<int, Stranger> strangers_;  // by descriptor
  std::size_t slow_ = 0;
  Counts counts_;
};

Strangers::Strangers(std::vector<Bytes> words, std::uint64_t seed)
    : body_(std::make_unique<Body>(std::move(words), seed)) {}
Strangers::~Strangers() = default;
void Strangers::hammer(const std::vector<SocketAddress>& targets, long count,
                       const std::function<bool()>& is_over) {
  if (!targets.empty()) body_->hammer(targets, count, is_over);
}
const Strangers::Counts& Strangers::counts() const { return body_->counts(); }

std::vector<std::uint16_t> listening_ports(const std::vector<int>& pids) {
  std::set<std::string> inodes;
  std::error_code ignored;
  for (const int pid : pids) {
    for (const auto& entry : std::filesystem::directory_iterator(text("/proc/", pid, "/fd"), ignored)) {
      const std::string link = std::filesystem::read_symlink(entry.path(), ignored);
      if (link.starts_with("socket:[")) inodes.insert(link.substr(8, link.size() - 9));
    }
  }
  std::vector<std::uint16_t> ports;
  for (const char* table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream file(table);
    for (std::string line; std::getline(file, line);) {
      std::istringstream words(line);
      std::string number, local, remote, state, skipped, inode;
      words >> number >> local >> remote >> state;
      for (int i = 0; i < 5; ++i) words >> skipped;
      words >> inode;
      if (state != "0A" || !inodes.contains(inode)) continue;
      ports.push_back(
          static_cast<std::uint16_t>(std::stoul(local.substr(local.rfind(':') + 1), nullptr, 16)));
    }
  }
  return ports;
}

}  // namespace hvd
