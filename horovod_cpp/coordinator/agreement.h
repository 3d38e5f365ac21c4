// Agreement: an operation that ends in this round on every rank that submitted it: by being executed (ok) or by an error.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/coordinator/declaration.h"

namespace hvd {

struct Agreement {
  std::uint32_t wire_id = 0;
  std::shared_ptr<const Declaration> declaration;  // what all agreed on (with an error: the lowest rank's)
  Status status = {};
  // [i]: those of member i of the process set. A rank that has joined contributes no rows.
  std::vector<Extents> extents = {};
  // join: the last rank to join. add_process_set: the new id.
  int number = 0;
  // The only rank that the others had to wait for: it came alone, in the last round; -1: there was none.
  int last_rank = -1;
};

}  // namespace hvd
