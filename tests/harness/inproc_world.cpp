#include "tests/harness/inproc_world.h"

#include <stdexcept>

#include "horovod_cpp/transport/inproc/inproc.h"
#include "ops/host/ring_collectives.h"
#include "ops/shm/shm_collectives.h"

namespace hvd {

InprocWorld::InprocWorld(int size, Backend backend)
    : size_(size),
      backend_(backend),
      transports_(make_inproc_transports(size)),
      memories_(make_inproc_memory(size)) {}

SessionParts InprocWorld::parts(int rank, Config config) {
  const auto index = static_cast<std::size_t>(rank);
  SessionParts parts;
  parts.placement = {rank, size_, rank, size_, 0, 1};
  parts.config = std::move(config);
  parts.control = std::move(transports_.at(index));
  if (backend_ == Backend::ring) {
    parts.collectives.push_back(make_ring_collectives(*parts.control));
    return parts;
  }
  auto collectives =
      open_shm_collectives(std::move(memories_.at(index)), Deadline::after(std::chrono::seconds(60)));
  if (!collectives.is_ok()) throw std::runtime_error(collectives.status().message());
  parts.collectives.push_back(std::move(collectives).value());
  return parts;
}

InprocWorld::OpenSession InprocWorld::open(RankScope& scope, Config config) {
  auto session = Session::create(parts(scope.rank(), std::move(config)));
  if (!session.is_ok()) throw std::runtime_error(session.status().message());
  return {std::move(session).value(), scope};
}

}  // namespace hvd
