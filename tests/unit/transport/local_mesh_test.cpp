#include "horovod_cpp/transport/shm/local_mesh.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>

#include <chrono>
#include <string>
#include <vector>

#include "horovod_cpp/base/socket.h"
#include "horovod_cpp/transport/inproc/inproc.h"
#include "horovod_cpp/transport/shm/memfd_exchange.h"
#include "tests/harness/run_ranks.h"

namespace hvd {
namespace {

Deadline soon() { return Deadline::after(std::chrono::seconds(30)); }

TEST(LocalMesh, EachLinkLeadsToItsRank) {
  constexpr int kSize = 5;
  const auto bootstrap = make_inproc_transports(kSize);
  run_ranks(kSize, [&](RankScope& scope) {
    Transport& transport = *bootstrap[static_cast<std::size_t>(scope.rank())];
    scope.guard(transport);
    auto links = connect_local_mesh(transport, soon());
    ASSERT_TRUE(links.is_ok()) << links.status().message();
    ASSERT_EQ(links->size(), static_cast<std::size_t>(kSize));
    for (int peer = 0; peer < kSize; ++peer) {
      const UniqueFd& link = links.value()[static_cast<std::size_t>(peer)];
      ASSERT_EQ(link.is_open(), peer != scope.rank());
      if (!link.is_open()) continue;
      EXPECT_NE(::fcntl(link.get(), F_GETFD) & FD_CLOEXEC, 0);
      EXPECT_NE(::fcntl(link.get(), F_GETFL) & O_NONBLOCK, 0);
      const auto word = static_cast<std::byte>(scope.rank() * 16 + peer);
      ASSERT_TRUE(send_all(link.get(), std::span(&word, 1), soon()).is_ok());
    }
    for (int peer = 0; peer < kSize; ++peer) {
      if (peer == scope.rank()) continue;
      std::byte word{};
      const UniqueFd& link = links.value()[static_cast<std::size_t>(peer)];
      ASSERT_TRUE(receive_all(link.get(), std::span(&word, 1), soon()).is_ok());
      EXPECT_EQ(word, static_cast<std::byte>(peer * 16 + scope.rank()));
    }
  });
}

// A thread in a network namespace of its own is like a rank on another host:
// abstract socket names do not lead there.
TEST(LocalMesh, ARankThatCannotBeReachedIsToldToEverybodyAlike) {
  constexpr int kSize = 4;
  constexpr int kOutsider = 2;
  const auto bootstrap = make_inproc_transports(kSize);
  std::vector<Status> outcomes(kSize);
  bool is_allowed = true;
  run_ranks(kSize, [&](RankScope& scope) {
    Transport& transport = *bootstrap[static_cast<std::size_t>(scope.rank())];
    scope.guard(transport);
    if (scope.rank() == kOutsider) is_allowed = ::unshare(CLONE_NEWNET) == 0;
    outcomes[static_cast<std::size_t>(scope.rank())] = connect_local_mesh(transport, soon()).status();
  });
  if (!is_allowed) GTEST_SKIP() << "this user may not make a network namespace";
  for (const Status& outcome : outcomes) {
    EXPECT_EQ(outcome.code(), StatusCode::unavailable);
    EXPECT_EQ(outcome.message(), outcomes[0].message());
    EXPECT_NE(outcome.message().find("rank 2 cannot reach rank 0"), std::string::npos) << outcome.message();
    EXPECT_NE(outcome.message().find("different hosts"), std::string::npos) << outcome.message();
  }
}

TEST(LocalMesh, AFailedBootstrapIsTold) {
  const auto bootstrap = make_inproc_transports(2);
  bootstrap[0]->abort(Status::aborted("no more"));
  EXPECT_EQ(connect_local_mesh(*bootstrap[0], soon()).status().code(), StatusCode::aborted);
}

// Rank 0 runs the exchange; rank 1 is the other end of a socket pair, played by hand.
class MemfdExchangeAgainstRawPeer : public ::testing::Test {
 protected:
  void SetUp() override {
    int ends[2] = {-1, -1};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    links_.resize(2);
    links_[1].reset(ends[0]);
    peer_.reset(ends[1]);
    exchange_ = make_memfd_exchange(0, std::move(links_));
  }
  // What the exchange itself would send for `bytes` bytes, with another descriptor.
  void peer_offers(std::uint64_t bytes, int descriptor) {
    struct {
      std::uint32_t magic = 0x4d445648;
      std::int32_t error_number = 0;
      std::uint64_t round = 0;
      std::uint64_t size_bytes = 0;
    } offer;
    offer.size_bytes = bytes;
    iovec piece{&offer, sizeof(offer)};
    alignas(cmsghdr) std::byte control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    if (descriptor >= 0) {
      message.msg_control = control;
      message.msg_controllen = sizeof(control);
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(header), &descriptor, sizeof(descriptor));
    }
    ASSERT_EQ(::sendmsg(peer_.get(), &message, MSG_NOSIGNAL), static_cast<ssize_t>(sizeof(offer)));
  }

  std::vector<UniqueFd> links_;
  UniqueFd peer_;
  std::unique_ptr<MemoryExchange> exchange_;
};

TEST_F(MemfdExchangeAgainstRawPeer, MemoryThatCouldShrinkIsRefused) {
  const UniqueFd unsealed(::memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(unsealed.get(), 4096), 0);
  peer_offers(4096, unsealed.get());
  EXPECT_EQ(exchange_->allocate(1, soon()).status().code(), StatusCode::internal);
}

TEST_F(MemfdExchangeAgainstRawPeer, MemorySmallerThanAnnouncedIsRefused) {
  const UniqueFd sealed(::memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(sealed.get(), 4096), 0);
  ASSERT_EQ(::fcntl(sealed.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
  peer_offers(1 << 20, sealed.get());
  EXPECT_EQ(exchange_->allocate(1, soon()).status().code(), StatusCode::internal);
}

TEST_F(MemfdExchangeAgainstRawPeer, AMissingDescriptorIsTold) {
  peer_offers(4096, -1);
  EXPECT_EQ(exchange_->allocate(1, soon()).status().code(), StatusCode::unavailable);
}

TEST_F(MemfdExchangeAgainstRawPeer, APeerThatDiedIsNamed) {
  peer_.reset();
  const Status status = exchange_->allocate(1, soon()).status();
  EXPECT_EQ(status.code(), StatusCode::aborted);
  EXPECT_NE(status.message().find("rank 1"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace hvd
