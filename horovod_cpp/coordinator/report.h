// Report: what a rank tells the others in one round of negotiation. docs/wire.md has the layout in bytes.
#pragma once

#include <span>
#include <vector>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/wire.h"
#include "horovod_cpp/coordinator/declaration.h"

namespace hvd {

struct Report {
  // One tensor that became ready on the sender: either known to all (its wire id), or declared in this very report.
  struct Ready {
    bool is_declared_here = false;
    std::uint32_t index = 0;  // wire id, or index into `declarations`
    Extents extents = {};
  };

  bool is_leaving = false;  // the sender has called shutdown and submits nothing more
  std::vector<Declaration> declarations;
  std::vector<Ready> ready;  // in the order of submission

  bool is_empty() const { return !is_leaving && declarations.empty() && ready.empty(); }
};

Bytes encode(const Report& report);
// Safe on any bytes; a malformed report is an `aborted` Status.
Result<Report> decode_report(std::span<const std::byte> bytes);

}  // namespace hvd
