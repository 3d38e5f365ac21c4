// Ranks of our own contenders: hvd_bench_own session|epochs, started by hvdrun.
#include <unistd.h>

#include <cstdio>
#include <string>

#include "horovod_cpp/world.h"
#include "tests/bench/contenders/own.h"
#include "tests/bench/rank.h"

namespace hvd::bench {
namespace {

Status serve(const std::string& kind) {
  auto session = open_session();
  HVD_RETURN_IF_ERROR(session.status());
  auto rank = Rank::join({(*session)->rank(), (*session)->size()});
  HVD_RETURN_IF_ERROR(rank.status());
  rank.value().obey([&](const Workload& workload) {
    return kind == "epochs" ? make_epochs(**session, workload) : make_session(**session, workload);
  });
  return (*session)->shutdown(Deadline::after(std::chrono::seconds(30)));
}

}  // namespace
}  // namespace hvd::bench

int main(int argc, char** argv) {
  const hvd::Status status = hvd::bench::serve(argc > 1 ? argv[1] : "");
  if (!status.is_ok()) std::fprintf(stderr, "hvd_bench_own: %s\n", status.message().c_str());
  return status.is_ok() ? 0 : 1;
}
