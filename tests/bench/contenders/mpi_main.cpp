// Ranks of a raw MPI: one MPI_Allreduce (in place, float32, sum) of everything. Compiled once for each MPI, started by its own mpirun.
#include <mpi.h>

#include <cstdio>
#include <string>

#include "horovod_cpp/base/text.h"
#include "tests/bench/gradients.h"
#include "tests/bench/rank.h"

namespace hvd::bench {
namespace {

std::string library_version() {
  char version[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MPI_Get_library_version(version, &length);
  std::string words(version, static_cast<std::size_t>(length));
  words.resize(std::min(words.size(), words.find_first_of(",\n")));
  // "MPICH Version:\t5.0.2"
  std::string tidy;
  for (const char letter : words) {
    const char seen = letter == '\t' ? ' ' : letter;
    if (seen != ':' && (seen != ' ' || !tidy.ends_with(' '))) tidy += seen;
  }
  return tidy;
}

class MpiAllreduce final : public Contender {
 public:
  MpiAllreduce(const Workload& workload, Place place)
      : place_(place), gradients_(workload, Layout::contiguous) {}

  std::string title() const override { return "one MPI_Allreduce, " + library_version(); }
  void fill(int repetition) override { gradients_.fill(place_.rank, repetition); }
  Status run() override {
    const auto all = gradients_.all();
    const int code = MPI_Allreduce(MPI_IN_PLACE, all.data(), static_cast<int>(all.size()), MPI_FLOAT, MPI_SUM,
                                   MPI_COMM_WORLD);
    return code == MPI_SUCCESS ? Status() : Status::aborted(text("MPI_Allreduce: MPI error ", code));
  }
  Status verify(int repetition) override { return gradients_.verify(place_.size, repetition, 1.0); }
  void give_back() override { gradients_.give_back(); }

 private:
  Place place_;
  Gradients gradients_;
};

Status serve(Place place) {
  auto rank = Rank::join(place);
  HVD_RETURN_IF_ERROR(rank.status());
  rank.value().obey([&](const Workload& workload) -> Result<std::unique_ptr<Contender>> {
    if (workload.is_step()) return Status::unimplemented("reduces tensors only");
    return std::unique_ptr<Contender>(std::make_unique<MpiAllreduce>(workload, place));
  });
  return {};
}

}  // namespace
}  // namespace hvd::bench

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  hvd::bench::Place place;
  MPI_Comm_rank(MPI_COMM_WORLD, &place.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &place.size);
  const hvd::Status status = hvd::bench::serve(place);
  if (!status.is_ok()) {
    std::fprintf(stderr, "hvd_bench_mpi: %s\n", status.message().c_str());
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  MPI_Finalize();
  return 0;
}
