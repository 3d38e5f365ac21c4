#include "tests/bench/board.h"

#include "horovod_cpp/base/futex.h"

namespace hvd::bench {

bool Board::meet(int size) {
  const std::uint32_t now = generation.load();
  if (arrived.fetch_add(1) + 1 == static_cast<std::uint32_t>(size)) {
    arrived.store(0);
    generation.store(now + 1);
    futex_wake_all(generation);
    return failed.load() == 0;
  }
  const auto patience = Deadline::after(std::chrono::minutes(1));
  while (generation.load() == now && failed.load() == 0 && !patience.passed())
    futex_wait(generation, now, patience);
  return generation.load() != now && failed.load() == 0;
}

void Board::fail() {
  failed.store(1);
  generation.fetch_add(1);
  futex_wake_all(generation);
}

}  // namespace hvd::bench
