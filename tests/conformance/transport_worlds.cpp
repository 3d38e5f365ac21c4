#include "tests/conformance/transport_worlds.h"

#include <gtest/gtest.h>

#include <utility>

#include "horovod_cpp/transport/inproc/inproc.h"
#include "horovod_cpp/transport/shm/local_mesh.h"
#include "horovod_cpp/transport/shm/memfd_exchange.h"
#include "horovod_cpp/transport/stream/stream.h"
#include "horovod_cpp/transport/tcp/tcp_contact.h"
#include "horovod_cpp/transport/tcp/tcp_mesh.h"
#include "horovod_cpp/transport/tcp/tcp_transport.h"
#include "tests/harness/run_ranks.h"

namespace hvd {
namespace {

Deadline soon() { return Deadline::after(std::chrono::seconds(30)); }

MemoryExchanges make_memfd_world(int size) {
  const Transports bootstrap = make_inproc_transports(size);
  MemoryExchanges out(static_cast<std::size_t>(size));
  run_ranks(size, [&](RankScope& scope) {
    const auto rank = static_cast<std::size_t>(scope.rank());
    scope.guard(*bootstrap[rank]);
    auto links = connect_local_mesh(*bootstrap[rank], soon());
    ASSERT_TRUE(links.is_ok()) << links.status().message();
    out[rank] = make_memfd_exchange(scope.rank(), std::move(links).value());
  });
  return ::testing::Test::HasFailure() ? MemoryExchanges() : std::move(out);
}

Transports make_shm_world(int size) {
  const MemoryExchanges memory = make_memfd_world(size);
  Transports out(memory.size());
  if (memory.empty()) return out;
  run_ranks(size, [&](RankScope& scope) {
    const auto rank = static_cast<std::size_t>(scope.rank());
    auto transport = open_stream_transport(*memory[rank], "shm", soon());
    ASSERT_TRUE(transport.is_ok()) << transport.status().message();
    out[rank] = std::move(transport).value();
  });
  return ::testing::Test::HasFailure() ? Transports() : std::move(out);
}

Result<std::unique_ptr<Transport>> open_tcp(int rank, const TcpListener& listener,
                                            std::span<const TcpContact> contacts, bool is_secured) {
  const int size = static_cast<int>(contacts.size());
  auto links =
      connect_tcp_links(rank, size, listener, contacts, "key of the test", LinkPurpose::control, soon());
  HVD_RETURN_IF_ERROR(links.status());
  if (is_secured) {
    auto sockets = secure_links(rank, std::move(links).value(), soon());
    HVD_RETURN_IF_ERROR(sockets.status());
    return make_tcp_transport(rank, std::move(sockets).value());
  }
  std::vector<UniqueFd> sockets;
  for (TcpLink& link : links.value()) sockets.push_back(std::move(link.socket));
  return make_tcp_transport(rank, std::move(sockets));
}

template <bool kIsSecured>
Transports make_tcp_world(int size) {
  std::vector<TcpListener> listeners;
  std::vector<TcpContact> contacts;
  for (int rank = 0; rank < size; ++rank) {
    auto listener = TcpListener::open();
    if (!listener.is_ok()) {
      ADD_FAILURE() << listener.status().message();
      return {};
    }
    listeners.push_back(std::move(listener).value());
    contacts.push_back(listeners.back().contact());
  }
  Transports out(static_cast<std::size_t>(size));
  run_ranks(size, [&](RankScope& scope) {
    const auto rank = static_cast<std::size_t>(scope.rank());
    auto transport = open_tcp(scope.rank(), listeners[rank], contacts, kIsSecured);
    ASSERT_TRUE(transport.is_ok()) << transport.status().message();
    out[rank] = std::move(transport).value();
  });
  return ::testing::Test::HasFailure() ? Transports() : std::move(out);
}

constexpr TransportWorld kTransportWorlds[] = {
    {"inproc", make_inproc_transports}, {"shm", make_shm_world}, {"tcp", make_tcp_world<false>}};
constexpr TransportWorld kSecuredWorlds[] = {{"tcp_tls", make_tcp_world<true>}};
constexpr MemoryWorld kMemoryWorlds[] = {{"inproc", make_inproc_memory}, {"memfd", make_memfd_world}};

}  // namespace

std::span<const TransportWorld> transport_worlds() { return kTransportWorlds; }
std::span<const TransportWorld> secured_transport_worlds() { return kSecuredWorlds; }
std::span<const MemoryWorld> memory_worlds() { return kMemoryWorlds; }

}  // namespace hvd
