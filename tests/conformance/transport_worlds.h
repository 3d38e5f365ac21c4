// Every Transport of horovod_cpp/transport, with ranks as threads of this process.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "horovod_cpp/ports/memory_exchange.h"
#include "horovod_cpp/ports/transport.h"

namespace hvd {

using Transports = std::vector<std::unique_ptr<Transport>>;
using MemoryExchanges = std::vector<std::unique_ptr<MemoryExchange>>;

struct TransportWorld {
  const char* name;
  // Element r is rank r's. Failures to connect are gtest failures; then it is empty.
  Transports (*make)(int size);
};
std::span<const TransportWorld> transport_worlds();
// Those that encrypt what the others of their kind carry plainly.
std::span<const TransportWorld> secured_transport_worlds();

struct MemoryWorld {
  const char* name;
  MemoryExchanges (*make)(int size);
};
std::span<const MemoryWorld> memory_worlds();

}  // namespace hvd
