// Who else may reach the local sockets of ranks: another user, and somebody who does not know the secret.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <functional>

#include "horovod_cpp/base/socket.h"
#include "horovod_cpp/transport/inproc/inproc.h"
#include "horovod_cpp/transport/shm/local_mesh.h"
#include "tests/harness/run_ranks.h"

namespace hvd {
namespace {

constexpr uid_t kNobody = 65534;

Deadline soon() { return Deadline::after(std::chrono::seconds(30)); }

// Does something with what the first all_gather brought, before its rank sees it.
class Interrupted final : public Transport {
 public:
  Interrupted(Transport& transport, std::function<void(std::vector<Bytes>&)> interruption)
      : transport_(transport), interruption_(std::move(interruption)) {}

  const char* name() const override { return transport_.name(); }
  int rank() const override { return transport_.rank(); }
  int size() const override { return transport_.size(); }
  Status exchange(int to, std::span<const std::byte> send, int from, std::span<std::byte> receive,
                  Deadline deadline) override {
    return transport_.exchange(to, send, from, receive, deadline);
  }
  Status all_gather(std::span<const std::byte> mine, std::vector<Bytes>& all, Deadline deadline) override {
    const Status status = transport_.all_gather(mine, all, deadline);
    if (interruption_) std::exchange(interruption_, nullptr)(all);
    return status;
  }
  Result<bool> wait(Deadline deadline) override { return transport_.wait(deadline); }
  void notify() override { transport_.notify(); }
  void abort(const Status& why) override { transport_.abort(why); }

 private:
  Transport& transport_;
  std::function<void(std::vector<Bytes>&)> interruption_;
};

// docs/wire.md, "Local mesh".
struct Contact {
  sockaddr_un address{};
  socklen_t length = 0;
  std::string secret;
};
Contact contact_in(const Bytes& bytes) {
  ByteReader in(bytes);
  Contact contact;
  const auto address = in.get_bytes();
  contact.address.sun_family = AF_UNIX;
  std::memcpy(&contact.address.sun_path, address.data(), address.size());
  contact.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size());
  contact.secret = in.get_text();
  return contact;
}
struct Greeting {
  std::array<char, 32> secret{};
  std::int32_t rank = -1;
};

// A process of another user that acts, says so with a byte, and then waits to be ended.
class OtherUser {
 public:
  // `act` runs after a fork of a program with threads: system calls only.
  explicit OtherUser(const std::function<bool()>& act) {
    int pipe[2] = {-1, -1};
    EXPECT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
    const UniqueFd said(pipe[0]), says(pipe[1]);
    pid_ = ::fork();
    if (pid_ == 0) {
      const bool is_other = ::syscall(SYS_setresuid, kNobody, kNobody, kNobody) == 0;
      const char outcome = is_other && act() ? 'y' : 'n';
      [[maybe_unused]] const auto written = ::write(says.get(), &outcome, 1);
      while (true) ::pause();
    }
    char outcome = 'n';
    EXPECT_EQ(::read(said.get(), &outcome, 1), 1);
    has_acted_ = outcome == 'y';
  }
  ~OtherUser() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  OtherUser(const OtherUser&) = delete;
  OtherUser& operator=(const OtherUser&) = delete;

  bool has_acted() const { return has_acted_; }

 private:
  pid_t pid_ = -1;
  bool has_acted_ = false;
};

bool greet(int socket, const Contact& contact, const Greeting& greeting) {
  return socket >= 0 &&
         ::connect(socket, reinterpret_cast<const sockaddr*>(&contact.address), contact.length) == 0 &&
         ::send(socket, &greeting, sizeof(greeting), MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof(greeting));
}

// Connects two ranks; `interruption` happens before rank 1 connects to rank 0.
std::vector<Status> connect_with(const std::function<void(std::vector<Bytes>&)>& interruption) {
  const auto bootstrap = make_inproc_transports(2);
  std::vector<Status> outcomes(2);
  run_ranks(2, [&](RankScope& scope) {
    const auto rank = static_cast<std::size_t>(scope.rank());
    scope.guard(*bootstrap[rank]);
    Interrupted transport(*bootstrap[rank], rank == 1 ? interruption : nullptr);
    auto links = connect_local_mesh(transport, soon());
    outcomes[rank] = links.status();
    if (!links.is_ok()) return;
    // It leads to the other rank and to nobody else.
    const UniqueFd& link = links.value()[1 - rank];
    const auto word = static_cast<std::byte>(rank);
    std::byte theirs{0xff};
    ASSERT_TRUE(send_all(link.get(), std::span(&word, 1), soon()).is_ok());
    ASSERT_TRUE(receive_all(link.get(), std::span(&theirs, 1), soon()).is_ok());
    EXPECT_EQ(theirs, static_cast<std::byte>(1 - rank));
  });
  return outcomes;
}

Greeting greeting_with(const std::string& secret) {
  Greeting greeting;
  std::memcpy(greeting.secret.data(), secret.data(), greeting.secret.size());
  greeting.rank = 1;
  return greeting;
}

TEST(LocalMeshStrangers, AnotherUserIsRefusedEvenWithTheSecret) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  std::unique_ptr<OtherUser> other;
  const auto outcomes = connect_with([&](std::vector<Bytes>& all) {
    const Contact contact = contact_in(all[0]);
    const Greeting greeting = greeting_with(contact.secret);
    other = std::make_unique<OtherUser>(
        [&] { return greet(::socket(AF_UNIX, SOCK_STREAM, 0), contact, greeting); });
  });
  ASSERT_TRUE(other->has_acted());
  for (const Status& outcome : outcomes) EXPECT_TRUE(outcome.is_ok()) << outcome.message();
}

TEST(LocalMeshStrangers, AnotherUsersSocketGetsNoSecret) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  Contact contact;
  contact.address.sun_family = AF_UNIX;
  const std::string name = std::string(1, '\0') + "hvd-test-" + std::to_string(::getpid());
  std::memcpy(&contact.address.sun_path, name.data(), name.size());
  contact.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  const OtherUser other([&contact] {
    const int listener = ::socket(AF_UNIX, SOCK_STREAM, 0);
    return listener >= 0 &&
           ::bind(listener, reinterpret_cast<const sockaddr*>(&contact.address), contact.length) == 0 &&
           ::listen(listener, 8) == 0;
  });
  ASSERT_TRUE(other.has_acted());
  const auto outcomes = connect_with([&](std::vector<Bytes>& all) {
    ByteReader in(all[0]);
    static_cast<void>(in.get_bytes());
    ByteWriter out;
    out.put_bytes(std::as_bytes(std::span(name)));
    Bytes changed = out.take();
    changed.insert(changed.end(), all[0].end() - static_cast<std::ptrdiff_t>(in.remaining()), all[0].end());
    all[0] = changed;
  });
  for (const Status& outcome : outcomes) {
    EXPECT_EQ(outcome.code(), StatusCode::unavailable);
    EXPECT_NE(outcome.message().find("belongs to another user"), std::string::npos) << outcome.message();
  }
}

TEST(LocalMeshStrangers, TheWrongSecretIsRefused) {
  std::vector<UniqueFd> strangers;
  const auto outcomes = connect_with([&](std::vector<Bytes>& all) {
    const Contact contact = contact_in(all[0]);
    std::string almost = contact.secret;
    almost.back() = almost.back() == '0' ? '1' : '0';
    for (const std::string& secret : {almost, contact_in(all[1]).secret, std::string(32, '\0')}) {
      strangers.emplace_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
      EXPECT_TRUE(greet(strangers.back().get(), contact, greeting_with(secret)));
    }
  });
  for (const Status& outcome : outcomes) EXPECT_TRUE(outcome.is_ok()) << outcome.message();
}

}  // namespace
}  // namespace hvd
