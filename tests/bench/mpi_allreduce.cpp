#include <mpi.h>

#include "horovod_cpp/base/text.h"
#include "tests/bench/contender.h"
#include "tests/bench/gradients.h"

namespace hvd::bench {
namespace {

class MpiAllreduce final : public Contender {
 public:
  MpiAllreduce(const Workload& workload, Place place)
      : place_(place), gradients_(workload, Layout::contiguous) {}

  std::string name() const override { return "one MPI_Allreduce"; }
  void fill(int round) override { gradients_.fill(place_.rank, round); }
  Status run() override {
    const auto all = gradients_.all();
    const int code = MPI_Allreduce(MPI_IN_PLACE, all.data(), static_cast<int>(all.size()), MPI_FLOAT, MPI_SUM,
                                   MPI_COMM_WORLD);
    return code == MPI_SUCCESS ? Status() : Status::aborted(text("MPI_Allreduce: MPI error ", code));
  }
  Status verify(int round) override { return gradients_.verify(place_.size, round, 1.0); }

 private:
  Place place_;
  Gradients gradients_;
};

}  // namespace

Result<std::unique_ptr<Contender>> make_mpi_allreduce(const Workload& workload, Place place) {
  return std::unique_ptr<Contender>(std::make_unique<MpiAllreduce>(workload, place));
}

}  // namespace hvd::bench
