// Runs the suites of the Transport and Collectives ports over the MPI plugin, one rank a process:
//
//   mpirun -np 3 build/bin/mpi_conformance
//   mpirun -np 2 build/bin/mpi_conformance --broken=TheFirstAbortIsKept
//
// The second form runs one check of transport_suite.h that ends with a failed Transport. MPI cannot be used
// after that: rank 0 prints "PASSED <check>" when all ranks have, and leaves without MPI_Finalize, at which
// mpirun ends the others with an error.
#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>

#include "bindings/runtime/plugin_loader.h"
#include "tests/conformance/mpi_world.h"
#include "tests/conformance/transport_suite.h"

namespace hvd {
namespace {

std::unique_ptr<MpiWorld>& world_slot() {
  static std::unique_ptr<MpiWorld> world;
  return world;
}

Status open_world() {
  auto world = std::make_unique<MpiWorld>();
  const auto plugin = load_plugin("mpi");
  HVD_RETURN_IF_ERROR(plugin.status());
  world->plugin = plugin.value();
  std::string details;
  HVD_RETURN_IF_ERROR(world->plugin->probe(&details));
  HVD_RETURN_IF_ERROR(world->plugin->open_transport(&world->transport));
  HVD_RETURN_IF_ERROR(
      world->plugin->open_collectives(*world->transport, nullptr, case_deadline(), &world->collectives));
  if (world->rank() == 0) std::printf("%d ranks, %s\n", world->size(), details.c_str());
  world_slot() = std::move(world);
  return {};
}

// On all ranks but the first: failures only, with the rank.
class FailuresOnly : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::printf("rank %d: %s:%d: %s\n", mpi_world().rank(), result.file_name(), result.line_number(),
                result.message());
    std::fflush(stdout);
  }
};

// A check of transport_suite.h that leaves the Transport as good as new.
// Ends with all ranks at the same place.
class SuiteCase : public testing::Test {
 public:
  explicit SuiteCase(const TransportCheck& check) : check_(check) {}

 private:
  void TestBody() override {
    check_.body(*mpi_world().transport);
    const Status together = mpi_world().collectives->barrier(case_deadline());
    ASSERT_TRUE(together.is_ok()) << together.message();
  }
  const TransportCheck& check_;
};

// One that does not.
class BrokenCase : public testing::Test {
 public:
  explicit BrokenCase(const TransportCheck& check) : check_(check) {}

 private:
  void TestBody() override { check_.body(*mpi_world().transport); }
  const TransportCheck& check_;
};

void register_transport_suite(int size) {
  for (const TransportCheck& check : transport_checks()) {
    if (check.leaves_it_failed || size < check.least_size) continue;
    testing::RegisterTest("TransportSuite", check.name, nullptr, nullptr, __FILE__, __LINE__,
                          [&check]() -> testing::Test* { return new SuiteCase(check); });
  }
}

// A file of each rank says how its check ended:
// after a failure there is no MPI to say it with. The ranks share a host.
int report_broken(std::string_view name, bool passed) {
  using std::filesystem::path;
  const int size = mpi_world().size();
  const path folder =
      std::filesystem::temp_directory_path() / ("hvd_mpi_conformance." + std::to_string(::getppid()));
  const auto file_of = [&](int rank) { return folder / std::to_string(rank); };
  std::filesystem::create_directories(folder);
  const path mine = file_of(mpi_world().rank());
  std::ofstream(mine.string() + ".part") << (passed ? "passed" : "failed");
  std::filesystem::rename(mine.string() + ".part", mine);
  const auto patience = case_deadline();
  if (mpi_world().rank() != 0) {
    while (!patience.passed())
      std::this_thread::sleep_for(std::chrono::milliseconds(100));  // until mpirun ends this rank
    return 1;
  }
  bool all_passed = true;
  for (int rank = 0; rank < size; ++rank) {
    while (!std::filesystem::exists(file_of(rank)) && !patience.passed()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    std::string word;
    std::ifstream(file_of(rank)) >> word;
    std::printf("rank %d: %s\n", rank, word.empty() ? "did not end" : word.c_str());
    all_passed = all_passed && word == "passed";
  }
  std::filesystem::remove_all(folder);
  if (all_passed) std::printf("PASSED %.*s\n", static_cast<int>(name.size()), name.data());
  std::fflush(stdout);
  // In some checks this rank's own MPI is whole: its MPI_Finalize would wait for the others.
  std::_Exit(all_passed ? 0 : 1);
}

// Runs the check in the frame of a gtest case, whose failures it reports.
int run_broken(std::string_view name) {
  for (const TransportCheck& check : transport_checks()) {
    if (check.name != name) continue;
    testing::RegisterTest("Broken", check.name, nullptr, nullptr, __FILE__, __LINE__,
                          [&check]() -> testing::Test* { return new BrokenCase(check); });
    testing::GTEST_FLAG(filter) = "Broken.*";
    return report_broken(name, RUN_ALL_TESTS() == 0);
  }
  std::fprintf(stderr, "no check '%.*s'\n", static_cast<int>(name.size()), name.data());
  return 1;
}

int run_suites() {
  register_transport_suite(mpi_world().size());
  const int result = RUN_ALL_TESTS();
  // A rank that leaves early would take the others' cases down.
  const Status last = mpi_world().collectives->barrier(case_deadline());
  world_slot().reset();
  return result != 0 || !last.is_ok() ? 1 : 0;
}

int run(int argc, char** argv) {
  // Before gtest starts: how many ranks there are is a parameter of its cases.
  if (const Status opened = open_world(); !opened.is_ok()) {
    std::fprintf(stderr, "cannot open the MPI plugin: %s\n", opened.message().c_str());
    return 1;
  }
  testing::InitGoogleTest(&argc, argv);
  if (mpi_world().rank() != 0) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new FailuresOnly);
  }
  constexpr std::string_view kBroken = "--broken=";
  const std::string_view option = argc > 1 ? argv[1] : "";
  return option.starts_with(kBroken) ? run_broken(option.substr(kBroken.size())) : run_suites();
}

}  // namespace

MpiWorld& mpi_world() { return *world_slot(); }

}  // namespace hvd

int main(int argc, char** argv) { return hvd::run(argc, argv); }
