// A server in a thread, and clients of it.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "horovod_cpp/base/socket.h"
#include "horovod_cpp/rendezvous/client.h"
#include "horovod_cpp/rendezvous/protocol.h"
#include "horovod_cpp/rendezvous/server.h"
#include "tests/harness/run_ranks.h"

namespace hvd {

inline Deadline soon() { return Deadline::after(std::chrono::seconds(30)); }

inline Bytes bytes_of(const std::string& text) {
  const auto view = std::as_bytes(std::span(text));
  return {view.begin(), view.end()};
}

class Rendezvous : public ::testing::Test {
 protected:
  void start(int size, LossPolicy losses = {}, RendezvousLimits limits = {}) {
    auto server = RendezvousServer::listen("127.0.0.1", size, "the key", losses, limits);
    ASSERT_TRUE(server.is_ok()) << server.status().message();
    server_ = std::move(server).value();
    stop_.reset(::eventfd(0, EFD_CLOEXEC));
    loop_ = std::thread([this] {
      pollfd entries[2] = {{server_->event_fd(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
      while (entries[1].revents == 0) {
        ::poll(entries, 2, -1);
        const std::lock_guard lock(mutex_);
        server_->handle_events();
      }
    });
  }
  void TearDown() override { stop(); }
  // The server goes away.
  void stop() {
    if (!loop_.joinable()) return;
    const std::uint64_t one = 1;
    ASSERT_EQ(::write(stop_.get(), &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
    loop_.join();
    server_.reset();
  }

  Result<Company> come(int rank, int size, const std::string& payload, Deadline deadline = soon(),
                       const std::string& key = "the key", bool after_loss = false) {
    return rendezvous(server_->address(), key, rank, size, bytes_of(payload), deadline, after_loss);
  }
  UniqueFd connect_raw() {
    auto socket = start_connect(SocketAddress::parse(server_->address()).value());
    EXPECT_TRUE(socket.is_ok()) << socket.status().message();
    EXPECT_TRUE(wait_for_events(socket->get(), POLLOUT, soon()).value());
    return std::move(socket).value();
  }
  // A connection that knows the key and has said nothing yet.
  SecureSocket connect_secure(const std::string& key = "the key") {
    auto socket = SecureSocket::over_tls(connect_raw(), SecureSocket::Side::connects,
                                         rendezvous_protocol::tls_key(key));
    EXPECT_TRUE(socket.is_ok()) << socket.status().message();
    const Status shaken = handshake_until(socket.value(), soon());
    EXPECT_TRUE(shaken.is_ok()) << shaken.message();
    return std::move(socket).value();
  }
  // The server's next message.
  std::pair<rendezvous_protocol::MessageType, Bytes> read_message(SecureSocket& socket) {
    using Reader = rendezvous_protocol::MessageReader;
    Reader reader(1 << 24);
    auto outcome = reader.advance(socket);
    while (outcome == Reader::Outcome::incomplete && wait_for_events(socket.fd(), POLLIN, soon()).value()) {
      outcome = reader.advance(socket);
    }
    EXPECT_EQ(outcome, Reader::Outcome::message);
    if (outcome != Reader::Outcome::message) return {};
    return {reader.type(), Bytes(reader.body().begin(), reader.body().end())};
  }
  std::string refusal_of(const Bytes& message) {
    SecureSocket socket = connect_secure();
    EXPECT_TRUE(socket.send_all(message, soon()).is_ok());
    const auto [type, body] = read_message(socket);
    EXPECT_EQ(type, rendezvous_protocol::MessageType::refused);
    return rendezvous_protocol::decode_reason(body);
  }
  // All ranks meet, whatever happened before.
  void expect_meeting(int size, const std::string& word) {
    run_ranks(size, [&](RankScope& scope) {
      const auto met = come(scope.rank(), size, word + std::to_string(scope.rank()));
      ASSERT_TRUE(met.is_ok()) << met.status().message();
      ASSERT_EQ(met.value().payloads.size(), static_cast<std::size_t>(size));
      for (int rank = 0; rank < size; ++rank) {
        EXPECT_EQ(met.value().ranks[static_cast<std::size_t>(rank)], rank);
        EXPECT_TRUE(met.value().payloads[static_cast<std::size_t>(rank)] ==
                    bytes_of(word + std::to_string(rank)));
      }
    });
  }

  // Of the server, while its thread runs.
  template <class Ask>
  auto ask(Ask&& ask_it) {
    const std::lock_guard lock(mutex_);
    return ask_it(*server_);
  }
  void end_rank(int rank, bool well) {
    const std::lock_guard lock(mutex_);
    server_->rank_ended(rank, well);
  }

  // Returns when these ranks, and nobody else, wait at the server.
  void await_attendance(const std::vector<int>& ranks) {
    while (ask([](auto& server) { return server.attendance().waiting; }) != ranks)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

  std::mutex mutex_;  // of the server
  std::unique_ptr<RendezvousServer> server_;
  UniqueFd stop_;
  std::thread loop_;
};

}  // namespace hvd
