// Server and clients over real sockets: good ones, and slow, wrong and dying ones.
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "horovod_cpp/rendezvous/address_lookup.h"
#include "tests/unit/rendezvous/rendezvous_world.h"

namespace hvd {
namespace {

using namespace rendezvous_protocol;  // NOLINT(google-build-using-namespace)
using std::chrono::milliseconds;

Hello hello_of(int rank, int size) {
  Hello hello;
  hello.rank = rank;
  hello.size = size;
  return hello;
}

TEST_F(Rendezvous, AllRanksGetAllPayloadsAgainAndAgain) {
  start(5);
  for (const char* word : {"", "second ", "third "}) expect_meeting(5, word);
}

TEST_F(Rendezvous, OneRankMeetsItself) {
  start(1);
  expect_meeting(1, "alone");
}

TEST_F(Rendezvous, TheLargestPayloadsArrive) {
  start(3);
  run_ranks(3, [&](RankScope& scope) {
    const std::string payload(kMaxPayloadBytes, static_cast<char>('a' + scope.rank()));
    const auto met = come(scope.rank(), 3, payload);
    ASSERT_TRUE(met.is_ok()) << met.status().message();
    for (int rank = 0; rank < 3; ++rank) {
      const Bytes& got = met.value().payloads[static_cast<std::size_t>(rank)];
      EXPECT_EQ(got.size(), kMaxPayloadBytes);
      EXPECT_EQ(got.back(), static_cast<std::byte>('a' + rank));
    }
  });
  const auto too_long = come(0, 3, std::string(kMaxPayloadBytes + 1, 'x'));
  EXPECT_EQ(too_long.status().code(), StatusCode::invalid_argument) << too_long.status().message();
}

TEST_F(Rendezvous, WrongClientsLearnWhyAndDisturbNobody) {
  start(2);
  const auto expect_refused = [](const Result<Company>& met, const std::string& reason) {
    EXPECT_EQ(met.status().code(), StatusCode::invalid_argument);
    EXPECT_NE(met.status().message().find(reason), std::string::npos) << met.status().message();
  };
  expect_refused(come(0, 2, "", soon(), "another key"), "wrong job key");
  expect_refused(come(0, 3, ""), "wrong size");
  expect_refused(come(2, 2, ""), "out of range");
  expect_refused(come(-1, 2, ""), "out of range");

  Hello other_protocol = hello_of(0, 2);
  other_protocol.protocol_version = 99;
  EXPECT_NE(refusal_of(encode(other_protocol)).find("wrong version"), std::string::npos);
  Hello other_library = hello_of(0, 2);
  other_library.horovod_cpp_version = "9.9.9";
  EXPECT_NE(refusal_of(encode(other_library)).find("9.9.9"), std::string::npos);
  Hello giant = hello_of(0, 2);
  giant.payload.resize(4 * kMaxPayloadBytes);
  EXPECT_NE(refusal_of(encode(giant)).find("too long"), std::string::npos);
  EXPECT_NE(refusal_of(encode_ask()).find("greeting"), std::string::npos);
  Bytes cut = encode(hello_of(0, 2));
  cut[8] = static_cast<std::byte>(std::to_integer<int>(cut[8]) - 1);  // announces one byte less
  EXPECT_NE(refusal_of(cut).find("cannot be read"), std::string::npos);
  expect_meeting(2, "fine");
}

TEST_F(Rendezvous, SilentAndForeignConnectionsDisturbNobody) {
  start(2);
  std::vector<UniqueFd> strangers;
  for (int i = 0; i < 20; ++i) {
    strangers.push_back(connect_raw());
    const std::string words = i % 2 == 0 ? "GET / HTTP/1.1\r\n\r\n" : "HVDR";
    if (i % 3 == 0) continue;
    ASSERT_TRUE(send_all(strangers.back().get(), std::as_bytes(std::span(words)), soon()).is_ok());
  }
  expect_meeting(2, "fine");
}

TEST_F(Rendezvous, StrangersAreRefusedAndDisturbNobody) {
  start(2, {}, {milliseconds(200), 3});
  // The first bytes of a client that knows the key, as somebody on the network records them.
  int pair[2] = {-1, -1};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
  const UniqueFd recorder(pair[1]);
  auto recorded = SecureSocket::over_tls(UniqueFd(pair[0]), SecureSocket::Side::connects, tls_key("the key"));
  ASSERT_TRUE(recorded.is_ok() && recorded->handshake().is_ok());
  Bytes first(4096);
  first.resize(receive_some(recorder.get(), first).bytes);
  ASSERT_GT(first.size(), 100U);

  std::vector<Bytes> words;
  words.push_back(first);  // replayed, and nothing more
  words.push_back(first);  // … and all again, as if it were the answer
  words.back().insert(words.back().end(), first.begin(), first.end());
  words.emplace_back(first.begin(), first.begin() + 40);              // truncated
  words.push_back(bytes_of("GET / HTTP/1.1\r\n\r\n"));                // plain
  words.push_back(encode(hello_of(0, 2)));                            // ours, without TLS
  words.push_back(bytes_of("\x16\x03\x01\xff\xff\x01\xff\xff\xff"));  // announces more than it can send
  words.emplace_back();                                               // slow: says nothing
  std::vector<UniqueFd> strangers;
  for (const Bytes& word : words) {
    strangers.push_back(connect_raw());
    ASSERT_TRUE(send_all(strangers.back().get(), word, soon()).is_ok());
  }
  expect_meeting(2, "fine");
  // Every one of them is dropped, without a byte of ours but the handshake's.
  for (const UniqueFd& stranger : strangers) {
    Bytes answer(4096);
    Progress progress;
    while (progress.is_open) {
      ASSERT_TRUE(wait_for_events(stranger.get(), POLLIN, soon()).value());
      progress = receive_some(stranger.get(), answer);
    }
  }
  EXPECT_GE(ask([](auto& server) { return server.strangers_refused(); }), static_cast<int>(words.size()));
  expect_meeting(2, "still fine");
}

// More than the server keeps: a rank that comes then takes the place of the oldest.
TEST_F(Rendezvous, SilentStrangersKeepNobodyOut) {
  start(2, {}, {milliseconds(60'000), 3});
  std::vector<UniqueFd> strangers;
  for (int i = 0; i < 400; ++i) strangers.push_back(connect_raw());
  expect_meeting(2, "fine");
  EXPECT_GE(ask([](auto& server) { return server.strangers_refused(); }), 100);
}

TEST_F(Rendezvous, ASlowClientIsAwaited) {
  start(2);
  std::thread slow([this] {
    SecureSocket socket = connect_secure();
    const Bytes hello = encode(hello_of(1, 2));
    for (std::size_t i = 0; i < hello.size(); i += 7) {
      const std::size_t length = std::min<std::size_t>(7, hello.size() - i);
      EXPECT_TRUE(socket.send_all(std::span(hello).subspan(i, length), soon()).is_ok());
      std::this_thread::sleep_for(milliseconds(5));
    }
    EXPECT_EQ(read_message(socket).first, MessageType::gathered);
  });
  const auto met = come(0, 2, "zero");
  EXPECT_TRUE(met.is_ok()) << met.status().message();
  slow.join();
}

TEST_F(Rendezvous, ATakenRankIsRefusedAndItsOwnerStays) {
  start(2);
  std::thread owner([this] {
    const auto met = come(1, 2, "the owner");
    ASSERT_TRUE(met.is_ok()) << met.status().message();
    EXPECT_TRUE(met.value().payloads[1] == bytes_of("the owner"));
  });
  // Comes after the owner, as soon as the server says that the owner waits.
  SecureSocket observer = connect_secure();
  ASSERT_TRUE(observer.send_all(encode(hello_of(0, 2)), soon()).is_ok());
  const auto [type, body] = read_message(observer);
  ASSERT_EQ(type, MessageType::gathered);
  owner.join();

  // In the next round.
  SecureSocket first = connect_secure();
  ASSERT_TRUE(first.send_all(encode(hello_of(1, 2)), soon()).is_ok());
  ASSERT_TRUE(first.send_all(encode_ask(), soon()).is_ok());
  ASSERT_EQ(read_message(first).first, MessageType::progress);
  const auto second = come(1, 2, "an impostor");
  EXPECT_EQ(second.status().code(), StatusCode::invalid_argument);
  EXPECT_NE(second.status().message().find("rank 1 is taken"), std::string::npos)
      << second.status().message();
}

TEST_F(Rendezvous, ADyingClientMakesItsPlaceFree) {
  start(2);
  {
    SecureSocket dying = connect_secure();
    ASSERT_TRUE(dying.send_all(encode(hello_of(1, 2)), soon()).is_ok());
    ASSERT_TRUE(dying.send_all(encode_ask(), soon()).is_ok());
    ASSERT_EQ(read_message(dying).first, MessageType::progress);
  }
  const auto alone = come(0, 2, "", Deadline::after(milliseconds(700)));
  EXPECT_EQ(alone.status().code(), StatusCode::timed_out);
  EXPECT_NE(alone.status().message().find("came and broke off: 1"), std::string::npos)
      << alone.status().message();
  expect_meeting(2, "the next attempt");
}

TEST_F(Rendezvous, ADeadlineSaysWhoIsMissing) {
  start(4);
  run_ranks(4, [&](RankScope& scope) {
    if (scope.rank() == 2) return;
    // Ranks give up one after the other, so that each has seen all who came.
    const auto met = come(scope.rank(), 4, "", Deadline::after(milliseconds(1000)));
    EXPECT_EQ(met.status().code(), StatusCode::timed_out);
    EXPECT_NE(met.status().message().find("missing: 2"), std::string::npos) << met.status().message();
    EXPECT_NE(met.status().message().find("rank " + std::to_string(scope.rank())), std::string::npos);
  });
}

TEST_F(Rendezvous, ANobodysAddressEndsAtTheDeadline) {
  std::string address;
  {
    const auto server = RendezvousServer::listen("127.0.0.1:0", 2, "key");
    ASSERT_TRUE(server.is_ok());
    address = server.value()->address();
  }
  const auto met = rendezvous(address, "key", 0, 2, {}, Deadline::after(milliseconds(200)));
  EXPECT_EQ(met.status().code(), StatusCode::timed_out);
  EXPECT_NE(met.status().message().find(address), std::string::npos) << met.status().message();
  EXPECT_EQ(rendezvous("nonsense", "key", 0, 2, {}, soon()).status().code(), StatusCode::invalid_argument);
}

TEST_F(Rendezvous, AHostMayBeNamed) {
  start(1);
  const std::string port = server_->address().substr(server_->address().rfind(':'));
  const auto met = rendezvous("localhost" + port, "the key", 0, 1, {}, soon());
  EXPECT_TRUE(met.is_ok()) << met.status().message();
}

TEST(RendezvousAddress, AHostThatDoesNotResolveIsNamed) {
  const auto met = rendezvous("nohost.invalid:1234", "key", 1, 2, {}, Deadline::after(milliseconds(300)));
  const std::string& told = met.status().message();
  EXPECT_TRUE(told.starts_with("rank 1: rendezvous at nohost.invalid:1234: ")) << told;
  EXPECT_NE(told.find("the host name 'nohost.invalid' does not resolve ("), std::string::npos) << told;
}

TEST(RendezvousAddress, WhatIsNoneIsTold) {
  for (const char* address :
       {"", "host", "host:", "host:x", "host:0", ":1", "::1:80", "a b:80", "host:99999"}) {
    const auto looked_up = look_up_address(address);
    EXPECT_EQ(looked_up.status().code(), StatusCode::invalid_argument) << address;
    EXPECT_NE(looked_up.status().message().find("is not an address: expected HOST:PORT"), std::string::npos)
        << looked_up.status().message();
  }
}

// Takes connections and says nothing.
TEST(RendezvousAddress, ASilentServerEndsAtTheDeadline) {
  const auto listener = listen_tcp(SocketAddress::parse("127.0.0.1:0").value(), 8);
  ASSERT_TRUE(listener.is_ok());
  const std::string address = SocketAddress::of(listener.value().get()).value().text();
  const auto met = rendezvous(address, "key", 0, 2, {}, Deadline::after(milliseconds(200)));
  EXPECT_EQ(met.status().code(), StatusCode::timed_out);
  EXPECT_NE(met.status().message().find("no answer to the TLS handshake before the deadline"),
            std::string::npos)
      << met.status().message();
}

TEST_F(Rendezvous, AServerThatDiesIsTold) {
  start(2);
  std::thread killer([this] {
    std::this_thread::sleep_for(milliseconds(100));
    TearDown();
    server_.reset();
  });
  const std::string address = server_->address();
  const auto met = rendezvous(address, "the key", 0, 2, {}, soon());
  killer.join();
  EXPECT_EQ(met.status().code(), StatusCode::aborted) << met.status().message();
}

TEST(RendezvousServer, TheAddressSaysWhereItListens) {
  for (const char* bind : {"127.0.0.1", "127.0.0.1:0", "0.0.0.0", "[::1]", "::1"}) {
    const auto server = RendezvousServer::listen(bind, 1, "key");
    if (std::string(bind).find("::") != std::string::npos && !server.is_ok())
      continue;  // a host without IPv6
    ASSERT_TRUE(server.is_ok()) << server.status().message();
    const auto address = SocketAddress::parse(server.value()->address());
    ASSERT_TRUE(address.is_ok()) << server.value()->address();
    EXPECT_NE(address.value().port(), 0);
  }
  EXPECT_FALSE(RendezvousServer::listen("nonsense", 1, "key").is_ok());
  EXPECT_FALSE(RendezvousServer::listen("127.0.0.1", 0, "key").is_ok());
}

TEST(RendezvousProtocol, AnswersFromAStrangerAreReadSafely) {
  const Bytes whole = encode(Gathered{3, {0, 4}, {bytes_of("a"), bytes_of("bc")}});
  const auto body = std::span(whole).subspan(16);
  const auto read = decode_gathered(body, 5);
  ASSERT_TRUE(read.is_ok());
  EXPECT_EQ(read.value().round, 3U);
  EXPECT_TRUE(read.value().payloads[1] == bytes_of("bc"));
  for (std::size_t length = 0; length < body.size(); ++length)
    EXPECT_FALSE(decode_gathered(body.first(length), 5).is_ok());
  EXPECT_FALSE(decode_gathered(body, 4).is_ok());  // there is no rank 4
  EXPECT_FALSE(decode_attendance(body).is_ok());
}

}  // namespace
}  // namespace hvd
