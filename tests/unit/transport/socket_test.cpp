#include "horovod_cpp/base/socket.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <chrono>

#include "horovod_cpp/base/secret.h"

namespace hvd {
namespace {

TEST(SocketAddress, WhatIsParsedReadsTheSame) {
  for (const char* text :
       {"127.0.0.1:40123", "0.0.0.0:0", "[::1]:65535", "[fe80::1%1]:80", "[2001:db8::7]:1"}) {
    const auto address = SocketAddress::parse(text);
    ASSERT_TRUE(address.is_ok()) << address.status().message();
    EXPECT_EQ(address.value().text(), text);
  }
}

TEST(SocketAddress, WhatIsNoAddressIsRefused) {
  for (const char* text :
       {"", ":", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:12x",
        "localhost:80", "::1:80", "[::1:80", "[]:80", "[zz]:80", "1.2.3:80"}) {
    EXPECT_EQ(SocketAddress::parse(text).status().code(), StatusCode::invalid_argument) << text;
  }
}

TEST(SocketAddress, ThePortCanBeReplaced) {
  for (const char* text : {"127.0.0.1:1", "[::1]:1"}) {
    SocketAddress address = SocketAddress::parse(text).value();
    address.set_port(4711);
    EXPECT_EQ(address.port(), 4711);
  }
}

class ConnectedSockets : public ::testing::Test {
 protected:
  void SetUp() override {
    auto listener = listen_tcp(SocketAddress::parse("127.0.0.1:0").value(), 8);
    ASSERT_TRUE(listener.is_ok()) << listener.status().message();
    EXPECT_FALSE(accept_connection(listener->get())->is_open()) << "nobody has connected";
    auto near = start_connect(SocketAddress::of(listener->get()).value());
    ASSERT_TRUE(near.is_ok()) << near.status().message();
    near_ = std::move(near).value();
    const Deadline deadline = Deadline::after(std::chrono::seconds(30));
    ASSERT_TRUE(wait_for_events(near_.get(), POLLOUT, deadline).value());
    ASSERT_EQ(pending_error(near_.get()), 0);
    ASSERT_TRUE(wait_for_events(listener->get(), POLLIN, deadline).value());
    far_ = std::move(accept_connection(listener->get())).value();
    ASSERT_TRUE(far_.is_open());
  }
  UniqueFd near_, far_;
};

TEST_F(ConnectedSockets, AFullSocketEndsAtTheDeadline) {
  const std::vector<std::byte> plenty(64 << 20);
  EXPECT_EQ(send_all(near_.get(), plenty, Deadline::after(std::chrono::milliseconds(50))).code(),
            StatusCode::timed_out);
}

TEST_F(ConnectedSockets, ASilentSocketEndsAtTheDeadline) {
  std::vector<std::byte> some(8);
  EXPECT_EQ(receive_all(near_.get(), some, Deadline::after(std::chrono::milliseconds(50))).code(),
            StatusCode::timed_out);
}

TEST_F(ConnectedSockets, AClosedSocketIsTold) {
  far_.reset();
  std::vector<std::byte> some(8);
  const Deadline deadline = Deadline::after(std::chrono::seconds(30));
  EXPECT_EQ(receive_all(near_.get(), some, deadline).code(), StatusCode::aborted);
  // No SIGPIPE either.
  const std::vector<std::byte> plenty(64 << 20);
  EXPECT_EQ(send_all(near_.get(), plenty, deadline).code(), StatusCode::aborted);
}

TEST(Secret, OnlyEqualOnesAreTheSame) {
  EXPECT_TRUE(is_same_secret("", ""));
  EXPECT_TRUE(is_same_secret("abc", "abc"));
  EXPECT_FALSE(is_same_secret("abc", "abd"));
  EXPECT_FALSE(is_same_secret("abc", "xbc"));
  EXPECT_FALSE(is_same_secret("abc", "ab"));
  EXPECT_FALSE(is_same_secret("", "a"));
}

TEST(Secret, RandomOnesDiffer) {
  const auto one = random_secret(16);
  const auto two = random_secret(16);
  ASSERT_TRUE(one.is_ok() && two.is_ok());
  EXPECT_EQ(one.value().size(), 32U);
  EXPECT_EQ(one.value().find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_NE(one.value(), two.value());
}

}  // namespace
}  // namespace hvd
