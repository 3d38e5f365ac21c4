// Turns: which thread does the coordinator's rounds now. Its own, as a rule. After a synchronous call it lends its turn for a moment: in a
// streak of such calls the callers do the rounds themselves, which saves two switches between threads a call.
//
// Why no news is overlooked: who has news leaves it where the coordinator's thread looks (its queue), then calls want_back(); the coordinator's
// thread first says that it lends, then looks.
// Threading: lend and wait_while_lent are the coordinator's thread's; the others may be called from any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>

#include "horovod_cpp/base/futex.h"

namespace hvd {

class Turns {
 public:
  // So long a rank may be deaf to news of others after its last synchronous call.
  static constexpr std::chrono::milliseconds kGrace{1};
  using Turn = std::unique_lock<std::mutex>;

  // Waits for who has borrowed it.
  Turn take() { return Turn(mutex_); }
  // Empty if another thread has it.
  Turn try_borrow() {
    Turn turn(mutex_, std::try_to_lock);
    if (turn) borrowed_.fetch_add(1);
    return turn;
  }
  void lend() { is_lent_.store(true); }

  // Until nobody has borrowed for kGrace, or somebody wants the coordinator's thread; not at all unless it lends, or if has_news().
  template <class HasNews>
  void wait_while_lent(HasNews&& has_news) {
    while (is_lent_.load()) {
      const std::uint32_t wanted = wanted_.load();
      const std::uint64_t borrowed = borrowed_.load();
      if (has_news()) break;
      futex_wait(wanted_, wanted, Deadline::after(kGrace));
      if (wanted_.load() != wanted || borrowed_.load() == borrowed) break;
    }
    is_lent_.store(false);
  }
  // The coordinator's thread is needed. No system call unless it lends.
  void want_back() {
    if (!is_lent_.load()) return;
    wanted_.fetch_add(1);
    futex_wake_all(wanted_);
  }

 private:
  std::mutex mutex_;
  std::atomic<bool> is_lent_{false};
  std::atomic<std::uint32_t> wanted_{0};
  std::atomic<std::uint64_t> borrowed_{0};
};

}  // namespace hvd
