#include "horovod_cpp/transport/tcp/tcp_mesh.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "horovod_cpp/transport/tcp/handshake.h"
#include "tests/harness/run_ranks.h"

namespace hvd {
namespace {

Deadline soon() { return Deadline::after(std::chrono::seconds(30)); }

UniqueFd connect_now(const SocketAddress& address) {
  auto socket = start_connect(address);
  EXPECT_TRUE(socket.is_ok()) << socket.status().message();
  EXPECT_TRUE(wait_for_events(socket->get(), POLLOUT, soon()).value());
  return std::move(socket).value();
}

class TcpMesh : public ::testing::Test {
 protected:
  void open(int size) {
    for (int rank = 0; rank < size; ++rank) {
      auto listener = TcpListener::open();
      ASSERT_TRUE(listener.is_ok()) << listener.status().message();
      listeners_.push_back(std::move(listener).value());
      contacts_.push_back(listeners_.back().contact());
    }
  }
  int size() const { return static_cast<int>(listeners_.size()); }
  Result<std::vector<UniqueFd>> connect(int rank, const std::string& key, Deadline deadline) {
    return connect_tcp_mesh(rank, size(), listeners_[static_cast<std::size_t>(rank)], contacts_, key,
                            deadline);
  }
  SocketAddress loopback_of(int rank) const {
    return SocketAddress::parse(contacts_[static_cast<std::size_t>(rank)].addresses.back()).value();
  }
  // Every rank connects, sends its number to all and reads theirs.
  void expect_mesh() {
    run_ranks(size(), [&](RankScope& scope) {
      const auto links = connect(scope.rank(), "key", soon());
      ASSERT_TRUE(links.is_ok()) << links.status().message();
      for (int peer = 0; peer < size(); ++peer) {
        const UniqueFd& link = links.value()[static_cast<std::size_t>(peer)];
        ASSERT_EQ(link.is_open(), peer != scope.rank());
        const auto word = static_cast<std::byte>(scope.rank());
        if (link.is_open()) {
          ASSERT_TRUE(send_all(link.get(), std::span(&word, 1), soon()).is_ok());
        }
      }
      for (int peer = 0; peer < size(); ++peer) {
        if (peer == scope.rank()) continue;
        std::byte word{0xff};
        ASSERT_TRUE(
            receive_all(links.value()[static_cast<std::size_t>(peer)].get(), std::span(&word, 1), soon())
                .is_ok());
        EXPECT_EQ(word, static_cast<std::byte>(peer)) << "the link does not lead to its rank";
      }
    });
  }

  std::vector<TcpListener> listeners_;
  std::vector<TcpContact> contacts_;
};

TEST_F(TcpMesh, StrangersDoNotDisturb) {
  open(3);
  std::vector<UniqueFd> strangers;
  for (int rank = 0; rank < 3; ++rank) {
    const SocketAddress address = loopback_of(rank);
    const std::string request = "GET / HTTP/1.1\r\nHost: " + std::string(200, 'x') + "\r\n\r\n";
    strangers.push_back(connect_now(address));
    ASSERT_TRUE(send_all(strangers.back().get(), std::as_bytes(std::span(request)), soon()).is_ok());
    const Greeting good = make_greeting(2, rank, 3, LinkPurpose::data).value();
    // Does not know the key: its proof is wrong, whatever it was sent.
    strangers.push_back(connect_now(address));
    ASSERT_TRUE(send_all(strangers.back().get(), std::as_bytes(std::span(&good, 1)), soon()).is_ok());
    const KeyedHash wrong = prove("another key", LinkSide::connected, good, good);
    ASSERT_TRUE(send_all(strangers.back().get(), wrong, soon()).is_ok());
    // Breaks off before it proves itself.
    if (rank < 2) {
      strangers.push_back(connect_now(address));
      ASSERT_TRUE(send_all(strangers.back().get(), std::as_bytes(std::span(&good, 1)), soon()).is_ok());
      strangers.back().reset();
    }
    strangers.push_back(connect_now(address));  // says nothing
    strangers.push_back(connect_now(address));  // half a greeting
    ASSERT_TRUE(
        send_all(strangers.back().get(), std::as_bytes(std::span(&good, 1)).first(20), soon()).is_ok());
  }
  expect_mesh();
}

// More than a rank keeps while it waits for the others.
TEST_F(TcpMesh, SilentStrangersKeepNobodyOut) {
  open(3);
  std::vector<UniqueFd> strangers;
  for (int i = 0; i < 900; ++i) {
    if (i % 3 < 2) strangers.push_back(connect_now(loopback_of(i % 3)));
  }
  expect_mesh();
}

TEST_F(TcpMesh, EveryAddressIsTried) {
  open(3);
  // Somebody else's port, and nobody's.
  auto stranger = TcpListener::open();
  ASSERT_TRUE(stranger.is_ok());
  SocketAddress nobody;
  {
    auto closed = TcpListener::open();
    nobody = SocketAddress::parse(closed->contact().addresses.back()).value();
  }
  for (TcpContact& contact : contacts_) {
    contact.addresses = {"not an address", nobody.text(), contact.addresses.back()};
  }
  expect_mesh();
}

TEST_F(TcpMesh, ARankThatComesLateIsAwaited) {
  open(2);
  run_ranks(2, [&](RankScope& scope) {
    if (scope.rank() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(100));
    const auto links = connect(scope.rank(), "key", soon());
    EXPECT_TRUE(links.is_ok()) << links.status().message();
  });
}

TEST_F(TcpMesh, MissingRanksAreNamed) {
  open(4);
  const auto links = connect(1, "key", Deadline::after(std::chrono::milliseconds(200)));
  EXPECT_EQ(links.status().code(), StatusCode::timed_out);
  const std::string& message = links.status().message();
  for (const char* expected :
       {"rank 1", "rank 0 (", "rank 2 (it did not connect)", "rank 3 (it did not connect)"}) {
    EXPECT_NE(message.find(expected), std::string::npos) << message;
  }
}

TEST_F(TcpMesh, AnotherKeyIsNotLetIn) {
  open(2);
  run_ranks(2, [&](RankScope& scope) {
    const auto links = connect(scope.rank(), scope.rank() == 0 ? "one" : "two",
                               Deadline::after(std::chrono::milliseconds(300)));
    EXPECT_EQ(links.status().code(), StatusCode::timed_out);
  });
}

// Rank 1, played by hand: what it sends is good for this connection only.
TEST_F(TcpMesh, ARecordedConnectionCannotBeRepeated) {
  open(2);
  const Greeting greeting = make_greeting(1, 0, 2, LinkPurpose::data).value();
  KeyedHash recorded{};
  // Connects with this greeting and the proof that `prove_it` makes of rank 0's answer.
  const auto meet_rank_0 = [&](Deadline deadline,
                               const std::function<KeyedHash(const Greeting&, const KeyedHash&)>& prove_it) {
    const UniqueFd socket = connect_now(loopback_of(0));
    Result<std::vector<UniqueFd>> met = Status::internal("did not run");
    std::thread rank_0([&] { met = connect(0, "key", deadline); });
    Greeting answer;
    KeyedHash theirs{};
    EXPECT_TRUE(send_all(socket.get(), std::as_bytes(std::span(&greeting, 1)), soon()).is_ok());
    EXPECT_TRUE(receive_all(socket.get(), std::as_writable_bytes(std::span(&answer, 1)), soon()).is_ok());
    EXPECT_TRUE(receive_all(socket.get(), theirs, soon()).is_ok());
    EXPECT_TRUE(send_all(socket.get(), prove_it(answer, theirs), soon()).is_ok());
    rank_0.join();
    return met.status();
  };
  const Status first = meet_rank_0(soon(), [&](const Greeting& answer, const KeyedHash&) {
    return recorded = prove("key", LinkSide::connected, greeting, answer);
  });
  EXPECT_TRUE(first.is_ok()) << first.message();
  const auto shortly = [] { return Deadline::after(std::chrono::milliseconds(200)); };
  const Status repeated = meet_rank_0(shortly(), [&](const Greeting&, const KeyedHash&) { return recorded; });
  EXPECT_EQ(repeated.code(), StatusCode::timed_out) << "a recorded proof is good again";
  const Status reflected =
      meet_rank_0(shortly(), [&](const Greeting&, const KeyedHash& theirs) { return theirs; });
  EXPECT_EQ(reflected.code(), StatusCode::timed_out) << "a rank's own proof is good for somebody else";
}

TEST_F(TcpMesh, ANonsenseCallIsRefused) {
  open(2);
  EXPECT_EQ(connect_tcp_mesh(0, 3, listeners_[0], contacts_, "key", soon()).status().code(),
            StatusCode::invalid_argument);
  EXPECT_EQ(connect(0, std::string(1000, 'k'), soon()).status().code(), StatusCode::invalid_argument);
}

TEST(Handshake, OnlyTheRightGreetingIsGood) {
  const auto is_good = [](int from, int to, int size, LinkPurpose purpose = LinkPurpose::data) {
    return check_greeting(make_greeting(from, to, size, purpose).value(), 0, 3, LinkPurpose::data).is_ok();
  };
  EXPECT_TRUE(is_good(1, 0, 3));
  EXPECT_FALSE(is_good(1, 2, 3)) << "meant for another rank";
  EXPECT_FALSE(is_good(1, 0, 4)) << "another size";
  EXPECT_FALSE(is_good(0, 0, 3)) << "claims our rank";
  EXPECT_FALSE(is_good(3, 0, 3)) << "out of range";
  EXPECT_FALSE(is_good(-1, 0, 3)) << "out of range";
  EXPECT_FALSE(is_good(1, 0, 3, LinkPurpose::control)) << "for something else";
  Greeting other_version = make_greeting(1, 0, 3, LinkPurpose::data).value();
  ++other_version.version;
  EXPECT_FALSE(check_greeting(other_version, 0, 3, LinkPurpose::data).is_ok());
  EXPECT_FALSE(check_greeting(Greeting{}, 0, 3, LinkPurpose::data).is_ok());
}

TEST(Handshake, AProofIsGoodForOneConnectionAndOneSide) {
  const Greeting ours = make_greeting(1, 0, 3, LinkPurpose::data).value();
  const Greeting theirs = make_greeting(0, 1, 3, LinkPurpose::data).value();
  const KeyedHash proof = prove("key", LinkSide::connected, ours, theirs);
  EXPECT_TRUE(is_same_hash(proof, prove("key", LinkSide::connected, ours, theirs)));
  EXPECT_FALSE(is_same_hash(proof, prove("key", LinkSide::accepted, ours, theirs))) << "reflected";
  EXPECT_FALSE(is_same_hash(proof, prove("kex", LinkSide::connected, ours, theirs)));
  const Greeting again = make_greeting(0, 1, 3, LinkPurpose::data).value();
  EXPECT_FALSE(is_same_hash(proof, prove("key", LinkSide::connected, ours, again))) << "replayed";
  EXPECT_FALSE(is_same_hash(proof, link_key("key", ours, theirs)));
}

TEST(TcpContact, IsReadAsItWasWritten) {
  const TcpContact contact{"host", {"10.0.0.1:5", "[::1]:5"}};
  const auto read = decode_tcp_contact(encode(contact));
  ASSERT_TRUE(read.is_ok()) << read.status().message();
  EXPECT_EQ(read.value().host, contact.host);
  EXPECT_EQ(read.value().addresses, contact.addresses);
}

TEST(TcpContact, NonsenseIsRefused) {
  Bytes bytes = encode({"host", {"10.0.0.1:5"}});
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_FALSE(decode_tcp_contact(std::span(bytes).first(length)).is_ok()) << length;
  }
  bytes.push_back(std::byte{0});
  EXPECT_FALSE(decode_tcp_contact(bytes).is_ok());
  ByteWriter giant;
  giant.put_text("host");
  giant.put(std::uint32_t{0xffffffff});
  EXPECT_FALSE(decode_tcp_contact(giant.bytes()).is_ok());
}

std::vector<std::string> texts(const std::vector<SocketAddress>& addresses) {
  std::vector<std::string> out;
  for (const SocketAddress& address : addresses) out.push_back(address.text());
  return out;
}

TEST(TcpContact, LoopbackIsFirstOnOneHostAndNeverBetweenHosts) {
  const TcpContact mine{"a", {}};
  const std::vector<std::string> addresses = {"10.0.0.1:5", "[::1]:5", "10.0.0.2:5", "127.0.0.1:5"};
  EXPECT_EQ(texts(addresses_to_try(mine, {"a", addresses})),
            (std::vector<std::string>{"[::1]:5", "127.0.0.1:5", "10.0.0.1:5", "10.0.0.2:5"}));
  EXPECT_EQ(texts(addresses_to_try(mine, {"b", addresses})),
            (std::vector<std::string>{"10.0.0.1:5", "10.0.0.2:5"}));
}

}  // namespace
}  // namespace hvd
