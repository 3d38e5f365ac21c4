// What every MemoryExchange must do, as checks that each rank runs on its own; like transport_suite.h.
#pragma once

#include <span>

#include "horovod_cpp/ports/memory_exchange.h"

namespace hvd {

struct MemoryExchangeCheck {
  const char* name;
  void (*body)(MemoryExchange& memory);
  int least_size = 1;
  bool leaves_it_failed = false;
};

std::span<const MemoryExchangeCheck> memory_exchange_checks();

}  // namespace hvd
