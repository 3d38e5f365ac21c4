// The Collectives suite on what reduces host memory, with ranks as threads.
#include <algorithm>
#include <optional>

#include "horovod_cpp/transport/inproc/inproc.h"
#include "horovod_cpp/transport/shm/local_mesh.h"
#include "horovod_cpp/transport/shm/memfd_exchange.h"
#include "horovod_cpp/transport/tcp/tcp_mesh.h"
#include "horovod_cpp/transport/tcp/tcp_transport.h"
#include "ops/host/ring_collectives.h"
#include "ops/shm/shm_collectives.h"
#include "tests/conformance/collectives_suite.h"
#include "tests/harness/run_ranks.h"

namespace hvd {
namespace {

Deadline patience() { return Deadline::after(std::chrono::seconds(60)); }

using Collective = std::unique_ptr<Collectives>;
using Body = std::function<void(Collectives&, int)>;
// Makes rank r's end of a world, on its own thread.
using Open = std::function<Result<Collective>(int rank)>;

// Every rank's Collectives live until all ranks have ended: peers may still need them.
void run_threads(int n, const Open& open, const Body& body) {
  std::vector<Collective> ends(static_cast<std::size_t>(n));
  run_ranks(n, [&](RankScope& scope) {
    auto opened = open(scope.rank());
    ASSERT_TRUE(opened.is_ok()) << opened.status().message();
    Collective& mine = ends[static_cast<std::size_t>(scope.rank())];
    mine = std::move(opened).value();
    scope.guard(*mine);
    body(*mine, scope.rank());
  });
}

// Many threads take long under a sanitizer.
std::vector<int> affordable(std::vector<int> sizes) {
#ifdef HVD_TEST_IS_SANITIZED
  std::erase_if(sizes, [](int n) { return n > 4; });
#endif
  return sizes;
}

CollectivesWorld ring_over_inproc() {
  return {"ring_inproc", affordable({1, 2, 3, 4, 7, 8}), [](int n, const Body& body) {
            const auto transports = make_inproc_transports(n);
            run_threads(
                n,
                [&](int rank) { return make_ring_collectives(*transports[static_cast<std::size_t>(rank)]); },
                body);
          }};
}

// Windows, links and thresholds so short that everything takes many rounds.
CollectivesWorld ring_with_short_steps() {
  return {"ring_short_steps", {2, 3, 5}, [](int n, const Body& body) {
            const auto transports = make_inproc_transports(n);
            const RingTuning tuning{16, 4096, 64, 8192};
            run_threads(
                n,
                [&](int rank) {
                  return make_ring_collectives(*transports[static_cast<std::size_t>(rank)], tuning);
                },
                body);
          }};
}

CollectivesWorld ring_over_tcp() {
  return {"ring_tcp", {1, 2, 3, 4}, [](int n, const Body& body) {
            std::vector<TcpListener> listeners;
            std::vector<TcpContact> contacts;
            for (int rank = 0; rank < n; ++rank) {
              auto listener = TcpListener::open();
              ASSERT_TRUE(listener.is_ok()) << listener.status().message();
              contacts.push_back(listener->contact());
              listeners.push_back(std::move(listener).value());
            }
            std::vector<std::unique_ptr<Transport>> transports(static_cast<std::size_t>(n));
            const auto open = [&](int rank) -> Result<Collective> {
              const auto index = static_cast<std::size_t>(rank);
              auto sockets =
                  connect_tcp_mesh(rank, n, listeners[index], contacts, "collectives suite", patience());
              if (!sockets.is_ok()) return sockets.status();
              auto transport = make_tcp_transport(rank, std::move(sockets).value());
              if (!transport.is_ok()) return transport.status();
              transports[index] = std::move(transport).value();
              return make_ring_collectives(*transports[index]);
            };
            run_threads(n, open, body);
          }};
}

CollectivesWorld shm_over_inproc(const std::string& name, const std::vector<int>& sizes,
                                 std::optional<ShmTuning> tuning = {}, std::optional<SpinLimits> spin = {}) {
  return {name, affordable(sizes), [=](int n, const Body& body) {
            auto memory = make_inproc_memory(n);
            const auto open = [&](int rank) {
              return open_shm_collectives(std::move(memory[static_cast<std::size_t>(rank)]), patience(),
                                          tuning.value_or(ShmTuning::for_ranks(n)),
                                          spin.value_or(SpinLimits::for_ranks(n)));
            };
            run_threads(n, open, body);
          }};
}

// Memory as processes share it: every rank has a mapping of its own of every memfd.
CollectivesWorld shm_over_memfd() {
  return {"shm_memfd", {1, 2, 4}, [](int n, const Body& body) {
            const auto transports = make_inproc_transports(n);
            const auto open = [&](int rank) -> Result<Collective> {
              auto links = connect_local_mesh(*transports[static_cast<std::size_t>(rank)], patience());
              if (!links.is_ok()) return links.status();
              return open_shm_collectives(make_memfd_exchange(rank, std::move(links).value()), patience());
            };
            run_threads(n, open, body);
          }};
}

CollectivesWorld with_huge_counts(CollectivesWorld world) {
  world.takes_huge_counts = true;
  return world;
}

INSTANTIATE_TEST_SUITE_P(
    Host, CollectivesSuite,
    testing::Values(with_huge_counts(ring_over_inproc()), ring_with_short_steps(), ring_over_tcp(),
                    with_huge_counts(shm_over_inproc("shm_inproc", {1, 2, 3, 4, 7, 8})),
                    // One page a window: every batch of the suite takes many steps through the slots.
                    shm_over_inproc("shm_short_windows", {2, 3, 7}, ShmTuning{4096, 64}),
                    // Nobody spins: every wait goes through the kernel.
                    shm_over_inproc("shm_sleeping", {2, 4}, ShmTuning{16384, 1024}, SpinLimits{0, 0}),
                    shm_over_memfd()),
    name_of_world);

}  // namespace
}  // namespace hvd
