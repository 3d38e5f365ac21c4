// Groups of operations (Declaration::group) that are submitted in one call: all of them, or none.
#pragma once

#include <memory>
#include <vector>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/coordinator/declaration.h"

namespace hvd {

// One operation of a call of submit(), as far as it has come.
struct Begun {
  std::shared_ptr<const Declaration> declaration;  // nullptr: it could not begin
  Status status;
};

// A group in which one member cannot start, or that does not come whole, does not start at all: the others would wait for ever.
void refuse_broken_groups(std::vector<Begun>& begun);

}  // namespace hvd
