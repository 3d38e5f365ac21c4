// What the MPI plugin does when something is wrong. Each case ends with a broken world, or needs one that was
// set up in its own way, so each is a run of mpirun of its own:
//
//   mpirun -np 2 build/bin/mpi_failures CASE
//
// Rank 0 prints "PASSED CASE". Where the world was broken on purpose, mpirun ends with an error after that.
// Unlike mpi_conformance this program links MPI, because in some cases the program initialises MPI itself.
#include <mpi.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <thread>

#include "bindings/runtime/plugin_loader.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/ports/plugin.h"
#include "horovod_cpp/transport/inproc/inproc.h"

namespace hvd {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

[[noreturn]] void stop(const std::string& what) {
  std::printf("FAILED: %s\n", what.c_str());
  std::fflush(stdout);
  std::_Exit(1);
}
void require(bool condition, const std::string& what) {
  if (!condition) stop(what);
}
void require_failed(const Status& status, StatusCode code, const std::string& piece) {
  require(status.code() == code,
          text("expected ", name_of(code), ", got ", name_of(status.code()), ": ", status.message()));
  require(status.message().find(piece) != std::string::npos, text("no '", piece, "' in: ", status.message()));
}
void require_ok(const Status& status) { require(status.is_ok(), status.message()); }

Deadline generous() { return Deadline::after(seconds(60)); }

const PluginTable& plugin() {
  const auto loaded = load_plugin("mpi");
  require_ok(loaded.status());
  return *loaded.value();
}
std::unique_ptr<Transport> open_transport() {
  std::unique_ptr<Transport> transport;
  require_ok(plugin().open_transport(&transport));
  return transport;
}
std::unique_ptr<Collectives> open_collectives(Transport& transport) {
  std::unique_ptr<Collectives> collectives;
  require_ok(plugin().open_collectives(transport, nullptr, generous(), &collectives));
  return collectives;
}
// A rank that takes no further part: mpirun ends it when rank 0 exits without MPI_Finalize.
void linger() {
  std::this_thread::sleep_for(seconds(120));
  stop("mpirun has not ended this rank");
}

void a_deadline_ends_a_gathering() {
  const auto transport = open_transport();
  if (transport->rank() != 0) return linger();
  std::vector<Bytes> all;
  require_failed(transport->all_gather({}, all, Deadline::after(milliseconds(200))), StatusCode::timed_out,
                 "all_gather");
  require_failed(transport->all_gather({}, all, generous()), StatusCode::timed_out, "all_gather");
  require_failed(transport->wait(generous()).status(), StatusCode::timed_out, "all_gather");
}

void a_deadline_ends_an_allreduce_and_everything_else() {
  const auto transport = open_transport();
  const auto collectives = open_collectives(*transport);
  if (transport->rank() != 0) return linger();
  // The memory goes away while MPI still has it: packed batches must not care.
  {
    std::vector<float> values(1000, 1.0F);
    const TensorSlice slices[] = {{values.data(), values.data(), 500},
                                  {values.data() + 500, values.data() + 500, 500}};
    require_failed(
        collectives->allreduce({.slices = slices, .deadline = Deadline::after(milliseconds(200))}).status(),
        StatusCode::timed_out, "allreduce");
  }
  require_failed(collectives->barrier(generous()), StatusCode::timed_out, "allreduce");
  // MPI as a whole was given up: the other channel says why.
  std::vector<Bytes> all;
  require_failed(transport->all_gather({}, all, generous()), StatusCode::timed_out,
                 "MPI is not used any more");
  std::unique_ptr<Transport> another;
  require_failed(plugin().open_transport(&another), StatusCode::timed_out, "MPI is not used any more");
}

// Another thread aborts `port` while `blocked` waits; its Status must be the reason given.
template <class Port, class Blocked>
void require_abort_ends(Port& port, Blocked&& blocked) {
  std::thread aborter([&] {
    std::this_thread::sleep_for(milliseconds(100));
    port.abort(Status::aborted("the reason of this test"));
    port.abort(Status::aborted("a later reason"));
  });
  const Status status = blocked();
  aborter.join();
  require_failed(status, StatusCode::aborted, "the reason of this test");
}

void abort_ends_an_allreduce() {
  const auto transport = open_transport();
  const auto collectives = open_collectives(*transport);
  if (transport->rank() != 0) return linger();
  std::vector<float> values(100'000, 1.0F);
  const TensorSlice slice{values.data(), values.data(), values.size()};
  const AllreduceRequest request{.slices = std::span(&slice, 1), .deadline = generous()};
  require_abort_ends(*collectives, [&] { return collectives->allreduce(request).status(); });
  require_failed(collectives->barrier(generous()), StatusCode::aborted, "the reason of this test");
}

void initialise(int level) {
  int provided = 0;
  MPI_Init_thread(nullptr, nullptr, level, &provided);
  require(provided == level, text("MPI offers thread level ", provided, " instead of ", level));
}

// The program goes on calling MPI, which goes on with what was abandoned; none of it may reach the caller's memory any more.
void nothing_is_written_after_a_failure() {
  initialise(MPI_THREAD_MULTIPLE);
  const auto transport = open_transport();
  const auto collectives = open_collectives(*transport);
  constexpr int kTag = 7;
  constexpr float kMine = 3.0F;
  std::vector<float> values(2'000'000, 1.0F);
  const TensorSlice slice{values.data(), values.data(), values.size()};
  const bool late = transport->rank() != 0;
  int word = 0;
  if (late) MPI_Recv(&word, 1, MPI_INT, 0, kTag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  // Rank 0 gives up before the other rank has begun.
  const Deadline deadline = Deadline::after(late ? milliseconds(1000) : milliseconds(100));
  const Status status =
      collectives->allreduce({.slices = std::span(&slice, 1), .deadline = deadline}).status();
  if (late) {
    // Whatever became of it: rank 0's share of the first window is on its way.
    MPI_Send(&word, 1, MPI_INT, 0, kTag, MPI_COMM_WORLD);
    return linger();
  }
  require_failed(status, StatusCode::timed_out, "allreduce");
  for (float& value : values) value = kMine;
  MPI_Send(&word, 1, MPI_INT, 1, kTag, MPI_COMM_WORLD);
  int is_over = 0;
  const Deadline patience = generous();
  while (is_over == 0) {
    MPI_Iprobe(1, kTag, MPI_COMM_WORLD, &is_over, MPI_STATUS_IGNORE);
    require(!patience.passed(), "rank 1 does not end its allreduce");
  }
  for (const float value : values) require(value == kMine, text("MPI wrote ", value));
}

void abort_ends_an_exchange() {
  const auto transport = open_transport();
  if (transport->rank() != 0) return linger();
  Bytes bytes(10);
  require_abort_ends(*transport, [&] { return transport->exchange(1, {}, 1, bytes, generous()); });
}

void abort_ends_a_wait() {
  const auto transport = open_transport();
  if (transport->rank() != 0) return linger();
  require_abort_ends(*transport, [&] { return transport->wait(generous()).status(); });
}

void ranks_that_disagree_about_a_length_are_told() {
  const auto transport = open_transport();
  Bytes bytes(transport->rank() == 0 ? 10 : 8);
  if (transport->rank() != 0) {
    static_cast<void>(transport->exchange(0, bytes, 0, {}, generous()));
    return linger();
  }
  require_failed(transport->exchange(1, {}, 1, bytes, generous()), StatusCode::internal,
                 "expected 10 bytes from rank 1, got 8");
}

void a_program_with_too_low_a_thread_level_is_told_what_to_do() {
  initialise(MPI_THREAD_FUNNELED);
  std::unique_ptr<Transport> transport;
  const Status status = plugin().open_transport(&transport);
  require_failed(status, StatusCode::unavailable, "MPI_THREAD_FUNNELED");
  require_failed(status, StatusCode::unavailable, "call MPI_Init_thread(..., MPI_THREAD_MULTIPLE, ...)");
  MPI_Finalize();
}

void a_program_that_initialised_mpi_finalises_it() {
  initialise(MPI_THREAD_SERIALIZED);
  {
    const auto transport = open_transport();
    std::vector<Bytes> all;
    require_ok(transport->all_gather({}, all, generous()));
  }
  int finalized = 1;
  MPI_Finalized(&finalized);
  require(finalized == 0, "the plugin has finalised MPI");
  const auto transport = open_transport();
  MPI_Finalize();
  std::vector<Bytes> all;
  require_failed(transport->all_gather({}, all, generous()), StatusCode::shut_down, "MPI_Finalize");
}

void an_exit_with_an_open_session_finalises_mpi() {
  // Static, as a program's own session would be: still open, with a thread in wait(), when the process exits.
  static std::unique_ptr<Transport> transport;
  transport = open_transport();
  static std::atomic<bool> waits{false};
  std::thread([] {
    waits = true;
    static_cast<void>(transport->wait(generous()));
  }).detach();
  while (!waits) std::this_thread::sleep_for(milliseconds(1));
}

void a_forked_child_does_not_finalise_mpi() {
  const auto transport = open_transport();
  const pid_t child = ::fork();
  if (child == 0) std::exit(0);
  int status = 0;
  require(::waitpid(child, &status, 0) == child && status == 0, text("the child ended with status ", status));
  std::vector<Bytes> all;
  require_ok(transport->all_gather({}, all, generous()));
}

void a_bootstrap_of_another_world_is_refused() {
  auto ranks = make_inproc_transports(1);
  std::unique_ptr<Collectives> collectives;
  require_failed(plugin().open_collectives(*ranks[0], nullptr, generous(), &collectives),
                 StatusCode::unavailable, "rank 0 of 1");
}

const std::map<std::string, void (*)()> kCases{
    {"a_deadline_ends_a_gathering", a_deadline_ends_a_gathering},
    {"a_deadline_ends_an_allreduce_and_everything_else", a_deadline_ends_an_allreduce_and_everything_else},
    {"abort_ends_an_allreduce", abort_ends_an_allreduce},
    {"nothing_is_written_after_a_failure", nothing_is_written_after_a_failure},
    {"abort_ends_an_exchange", abort_ends_an_exchange},
    {"abort_ends_a_wait", abort_ends_a_wait},
    {"ranks_that_disagree_about_a_length_are_told", ranks_that_disagree_about_a_length_are_told},
    {"a_program_with_too_low_a_thread_level_is_told_what_to_do",
     a_program_with_too_low_a_thread_level_is_told_what_to_do},
    {"a_program_that_initialised_mpi_finalises_it", a_program_that_initialised_mpi_finalises_it},
    {"an_exit_with_an_open_session_finalises_mpi", an_exit_with_an_open_session_finalises_mpi},
    {"a_forked_child_does_not_finalise_mpi", a_forked_child_does_not_finalise_mpi},
    {"a_bootstrap_of_another_world_is_refused", a_bootstrap_of_another_world_is_refused},
};

}  // namespace
}  // namespace hvd

int main(int argc, char** argv) {
  const auto found = argc == 2 ? hvd::kCases.find(argv[1]) : hvd::kCases.end();
  if (found == hvd::kCases.end()) {
    for (const auto& [name, run] : hvd::kCases) std::printf("%s\n", name.c_str());
    return 2;
  }
  found->second();
  const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
  if (rank == nullptr || std::string(rank) == "0") std::printf("PASSED %s\n", argv[1]);
  return 0;
}
