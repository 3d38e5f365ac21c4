// One rank of an NCCL job as tests use it: device number `rank`, collectives from the plugin's table.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "horovod_cpp/ports/collectives.h"
#include "horovod_cpp/ports/transport.h"
#include "tests/gpu/gpu.h"

namespace hvd {

inline Deadline soon() { return Deadline::after(std::chrono::seconds(60)); }

struct NcclRank {
  explicit NcclRank(Transport& bootstrap) : gpu(bootstrap.rank()) {
    const Status status = cuda_plugin().open_collectives(bootstrap, gpu.device(), soon(), &collectives);
    EXPECT_TRUE(status.is_ok()) << "rank " << bootstrap.rank() << ": " << status.message();
  }
  explicit operator bool() const { return collectives != nullptr; }

  Gpu gpu;
  std::unique_ptr<Collectives> collectives;
};

// The end of an operation, awaited.
inline Status finish(const Result<Completion>& result) {
  if (!result.is_ok()) return result.status();
  return result.value() == nullptr ? Status() : result.value()->synchronize(soon());
}

}  // namespace hvd
