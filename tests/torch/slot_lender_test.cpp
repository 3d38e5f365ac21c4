// SlotLender and LibTorch's allocator, without gradients.
#include "bindings/torch/slot_lender.h"

#include <c10/core/CPUAllocator.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "bindings/torch/arena_plan.h"
#include "horovod_cpp/transport/inproc/anonymous_memory.h"

namespace hvd {
namespace {

class Lender : public testing::Test {
 protected:
  static constexpr std::size_t kBytes = kLeastBytesOnOwnPages;
  static constexpr std::size_t kPage = 4096;

  void SetUp() override {
    const auto memory = map_anonymous_memory(kPage + 2 * kBytes);
    ASSERT_TRUE(memory.is_ok()) << memory.status().message();
    payload = memory.value().data + kPage;
    lender = SlotLender::open(memory.value(), kPage, 2 * kBytes, {{0, kBytes}, {kBytes, kBytes}});
    ASSERT_TRUE(lender);
    install_lending_allocator();
    lender->begin_epoch();
    // Gradient 1 comes, and then 0, in the first thing of its size that was allocated in between.
    lender->open_window(1, all);
    const auto learnt = allocate();
    lender->learn(0, learnt.const_data_ptr());
    SlotLender::close_window();
    lender->begin_epoch();
  }
  void TearDown() override { SlotLender::close_window(); }

  static bool all(std::size_t) { return true; }
  static torch::Tensor allocate(std::size_t bytes = kBytes) {
    return torch::empty({static_cast<std::int64_t>(bytes)}, torch::kUInt8);
  }

  std::byte* payload = nullptr;
  std::shared_ptr<SlotLender> lender;
};

TEST_F(Lender, GivesTheForeseenAllocationTheSlot) {
  lender->open_window(1, all);
  const auto other = allocate(kBytes + 1);
  EXPECT_FALSE(lender->is_lent(0));
  const auto lent = allocate();
  EXPECT_TRUE(lender->is_lent(0));
  EXPECT_EQ(lent.const_data_ptr(), lender->at(0));
  std::memset(lent.data_ptr(), 7, kBytes);
  EXPECT_EQ(payload[kBytes - 1], std::byte{7}) << "it is the payload, at another address";
  EXPECT_NE(allocate().const_data_ptr(), lender->at(1)) << "nobody has foreseen that";
}

TEST_F(Lender, LendsOnceAtATimeAndAgainWhenItIsBack) {
  lender->open_window(1, all);
  auto lent = allocate();
  lender->open_window(1, all);
  EXPECT_NE(allocate().const_data_ptr(), lender->at(0));
  lent.reset();
  EXPECT_FALSE(lender->is_lent(0));
  lender->open_window(1, all);
  EXPECT_EQ(allocate().const_data_ptr(), lender->at(0));
}

TEST_F(Lender, LendsNothingThatIsHeldSealedOrOfAnotherEpoch) {
  lender->open_window(1, [](std::size_t slot) { return slot != 0; });
  EXPECT_NE(allocate().const_data_ptr(), lender->at(0)) << "held";
  lender->open_window(1, all);
  lender->begin_epoch();
  EXPECT_NE(allocate().const_data_ptr(), lender->at(0)) << "another epoch";
  lender->seal(0);
  lender->open_window(1, all);
  EXPECT_NE(allocate().const_data_ptr(), lender->at(0)) << "sealed";
  lender->begin_epoch();
  lender->open_window(1, all);
  SlotLender::close_window();
  EXPECT_NE(allocate().const_data_ptr(), lender->at(0)) << "no window";
}

TEST_F(Lender, TakesASlotBackFromWhoeverHasIt) {
  lender->open_window(1, all);
  auto lent = allocate();
  lent.fill_(5);
  const auto* const before = lender->at(0);
  lender->take_back(0);
  EXPECT_FALSE(lender->is_lent(0));
  EXPECT_NE(lender->at(0), before);
  EXPECT_TRUE(lender->contains(before) && lender->contains(lender->at(0)));
  std::memset(lender->at(0), 9, kBytes);
  EXPECT_EQ(payload[0], std::byte{9});
  EXPECT_TRUE((lent == 5).all().item<bool>());
  lent.fill_(6);
  EXPECT_EQ(payload[0], std::byte{9});
  // What shares its memory does not matter, and it may end after everything else.
  SlotLender::close_window();
  lender.reset();
  EXPECT_TRUE((lent == 6).all().item<bool>());
}

TEST_F(Lender, LosesNoWriteOfABorrowerWhomItTakesTheSlotFrom) {
  for (int round = 0; round < 10; ++round) {
    lender->begin_epoch();
    lender->open_window(1, all);
    auto lent = allocate();
    ASSERT_EQ(lent.const_data_ptr(), lender->at(0));
    lent.zero_();
    auto* const bytes = lent.data_ptr<std::uint8_t>();
    std::atomic<bool> has_begun{false};
    std::thread writer([&] {
      for (int times = 0; times < 20; ++times) {
        for (std::size_t i = 0; i < kBytes; i += 64) ++bytes[i];
        has_begun = true;
      }
    });
    while (!has_begun) std::this_thread::yield();
    lender->take_back(0);
    writer.join();
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < kBytes; i += 64) wrong += bytes[i] == 20 ? 0 : 1;
    EXPECT_EQ(wrong, 0U) << "round " << round;
  }
}

TEST_F(Lender, NotesAndLendsNothingWhileItsWindowIsPaused) {
  lender->open_window(1, all);
  SlotLender::pause_window();
  EXPECT_NE(allocate().const_data_ptr(), lender->at(0));
  lender->open_window(1, all);
  EXPECT_EQ(allocate().const_data_ptr(), lender->at(0));
}

TEST_F(Lender, LeavesASlotAloneThatItHasToTakeBackAgainAndAgain) {
  int times = 0;
  for (; times < 100; ++times) {
    lender->begin_epoch();
    lender->open_window(1, all);
    const auto lent = allocate();
    if (lent.const_data_ptr() != lender->at(0)) break;
    lender->take_back(0);
  }
  EXPECT_GT(times, 1);
  EXPECT_LT(times, 30);
}

TEST_F(Lender, ClosedLendsNothingAndHasTakenBackAll) {
  lender->open_window(1, all);
  const auto lent = allocate();
  lender->close();
  std::memset(payload, 3, 2 * kBytes);
  EXPECT_FALSE((lent == 3).all().item<bool>());
  lender->open_window(1, all);
  EXPECT_NE(allocate().const_data_ptr(), lender->at(0));
}

TEST_F(Lender, RawAllocationsAreFreedAsTheyCame) {
  c10::Allocator* const allocator = c10::GetCPUAllocator();
  lender->open_window(1, all);
  void* const lent = allocator->raw_allocate(kBytes);
  void* const other = allocator->raw_allocate(kBytes);
  EXPECT_EQ(lent, lender->at(0));
  EXPECT_NE(other, lent);
  allocator->raw_deallocate(other);
  EXPECT_TRUE(lender->is_lent(0));
  allocator->raw_deallocate(lent);
  EXPECT_FALSE(lender->is_lent(0));
}

}  // namespace
}  // namespace hvd
