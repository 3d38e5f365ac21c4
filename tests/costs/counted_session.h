// A Session whose messages are counted.
#pragma once

#include <memory>

#include "horovod_cpp/session.h"
#include "tests/harness/faulty_transport.h"
#include "tests/harness/inproc_world.h"

namespace hvd {

struct CountedSession {
  Result<std::unique_ptr<Session>> session;
  const FaultyTransport* messages;  // the Session's
};

inline CountedSession open_counted_session(InprocWorld& world, int rank) {
  SessionParts parts = world.parts(rank);
  auto counting = std::make_unique<FaultyTransport>(std::move(parts.control), TransportFaults{});
  const FaultyTransport* const messages = counting.get();
  parts.control = std::move(counting);
  return {Session::create(std::move(parts)), messages};
}

}  // namespace hvd
