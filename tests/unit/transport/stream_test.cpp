// The stream Transport against a peer that does not keep the rules,
// played by hand in its segment of shared memory.
#include "horovod_cpp/transport/stream/stream.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <thread>

#include "horovod_cpp/transport/framing/messages.h"
#include "horovod_cpp/transport/inproc/anonymous_memory.h"
#include "horovod_cpp/transport/stream/segment.h"

namespace hvd {
namespace {

Deadline soon() { return Deadline::after(std::chrono::seconds(30)); }

// Rank 0 is a Transport, rank 1 is this test.
class StreamAgainstRawPeer : public ::testing::Test {
 protected:
  void SetUp() override {
    std::vector<MappedMemory> segments;
    for (int rank = 0; rank < 2; ++rank) {
      auto memory = map_anonymous_memory(stream_segment_bytes(2));
      ASSERT_TRUE(memory.is_ok()) << memory.status().message();
      segments.push_back(std::move(memory).value());
    }
    mine_ = {segments[0].data, ring_capacity_bytes(2)};
    peer_ = {segments[1].data, ring_capacity_bytes(2)};
    auto transport = make_stream_transport(0, std::move(segments), "raw");
    ASSERT_TRUE(transport.is_ok()) << transport.status().message();
    transport_ = std::move(transport).value();
  }

  void peer_writes(std::span<const std::byte> bytes) {
    std::memcpy(peer_.ring_data(0), bytes.data(), bytes.size());
    peer_.ring_to(0).written.store(bytes.size());
  }

  Segment mine_, peer_;
  std::unique_ptr<Transport> transport_;
};

TEST_F(StreamAgainstRawPeer, APositionBeyondTheRingIsRefused) {
  peer_.ring_to(0).written.store(ring_capacity_bytes(2) + 1);
  const auto woken = transport_->wait(soon());
  EXPECT_EQ(woken.status().code(), StatusCode::internal) << woken.status().message();
  EXPECT_NE(woken.status().message().find("rank 1"), std::string::npos) << woken.status().message();
}

TEST_F(StreamAgainstRawPeer, APositionThatGoesBackIsRefused) {
  peer_.ring_to(0).written.store(~std::uint64_t{0});
  Bytes received(10);
  EXPECT_EQ(transport_->exchange(1, {}, 1, received, soon()).code(), StatusCode::internal);
}

TEST_F(StreamAgainstRawPeer, AReaderAheadOfTheWriterIsRefused) {
  mine_.ring_to(1).read.store(5);
  EXPECT_EQ(transport_->exchange(1, Bytes(10), 1, {}, soon()).code(), StatusCode::internal);
}

TEST_F(StreamAgainstRawPeer, AnAnnouncedGiantIsNotAllocated) {
  const MessageHeader header{MessageKind::all_gather, 0, std::uint64_t{1} << 62};
  peer_writes(std::as_bytes(std::span(&header, 1)));
  std::vector<Bytes> all;
  const Status status = transport_->all_gather({}, all, soon());
  EXPECT_EQ(status.code(), StatusCode::internal);
  EXPECT_NE(status.message().find("announced"), std::string::npos) << status.message();
}

TEST_F(StreamAgainstRawPeer, AnUnknownKindOfMessageIsRefused) {
  const MessageHeader header{static_cast<MessageKind>(0xdeadbeef), 0, 4};
  peer_writes(std::as_bytes(std::span(&header, 1)));
  std::vector<Bytes> all;
  EXPECT_EQ(transport_->all_gather({}, all, soon()).code(), StatusCode::internal);
}

TEST_F(StreamAgainstRawPeer, AnAwakePeerIsNotRung) {
  ASSERT_TRUE(transport_->exchange(1, Bytes(10), 1, {}, soon()).is_ok());
  EXPECT_EQ(peer_.page().doorbell.load(), 0U);
  peer_.page().asleep.store(1);
  ASSERT_TRUE(transport_->exchange(1, Bytes(10), 1, {}, soon()).is_ok());
  EXPECT_EQ(peer_.page().doorbell.load(), 1U);
  EXPECT_EQ(peer_.page().asleep.load(), 0U);
}

TEST_F(StreamAgainstRawPeer, ANonsenseAbortIsNotFollowed) {
  // A rank that does not exist: the wait ends by its deadline, not by a crash.
  mine_.page().aborted_by.store(77);
  const auto woken = transport_->wait(Deadline::after(std::chrono::milliseconds(20)));
  ASSERT_TRUE(woken.is_ok()) << woken.status().message();
  EXPECT_FALSE(woken.value());
}

TEST_F(StreamAgainstRawPeer, AReasonLongerThanItsPlaceIsCut) {
  peer_.page().reason_bytes = 1 << 30;
  std::memset(peer_.page().reason, 'x', sizeof(peer_.page().reason));
  mine_.page().aborted_by.store(2);
  const auto woken = transport_->wait(soon());
  EXPECT_EQ(woken.status().code(), StatusCode::aborted);
  EXPECT_LT(woken.status().message().size(), 1000U);
}

TEST(Stream, ASegmentOfAnotherVersionIsRefused) {
  auto memory = map_anonymous_memory(4096);
  ASSERT_TRUE(memory.is_ok());
  const std::vector<MappedMemory> segments = {memory.value(), memory.value()};
  EXPECT_FALSE(make_stream_transport(0, segments, "raw").is_ok());
}

TEST(Stream, SegmentsStaySmall) {
  for (const int size : {1, 2, 8, 64, 256}) {
    const std::size_t capacity = ring_capacity_bytes(size);
    EXPECT_EQ(capacity & (capacity - 1), 0U);
    EXPECT_GE(capacity, 4096U);
    EXPECT_LE(stream_segment_bytes(size), (std::size_t{1} << 20) + 200'000) << size;
  }
}

// Small messages with random pauses, so that each rank falls asleep again and again: a lost wake-up would
// hang until the deadline.
TEST(Stream, NoWakeUpIsLost) {
  std::vector<MappedMemory> segments;
  for (int rank = 0; rank < 2; ++rank)
    segments.push_back(map_anonymous_memory(stream_segment_bytes(2)).value());
  auto first = std::move(make_stream_transport(0, segments, "raw")).value();
  auto second = std::move(make_stream_transport(1, segments, "raw")).value();
  constexpr int kMessages = 5'000;
  std::thread echo([&] {
    Bytes word(8);
    for (int i = 0; i < kMessages; ++i) {
      ASSERT_TRUE(second->exchange(0, {}, 0, word, soon()).is_ok());
      ASSERT_TRUE(second->exchange(0, word, 0, {}, soon()).is_ok());
    }
  });
  for (int i = 0; i < kMessages; ++i) {
    Bytes sent(8, static_cast<std::byte>(i));
    Bytes received(8);
    if (i % 64 == 0) std::this_thread::sleep_for(std::chrono::microseconds(i % 1000));
    const Status status = first->exchange(1, sent, 1, received, soon());
    if (!status.is_ok() || received != sent) {
      ADD_FAILURE() << "message " << i << ": " << status.message();
      first->abort(Status::aborted("the test failed"));
      break;
    }
  }
  echo.join();
}

}  // namespace
}  // namespace hvd
