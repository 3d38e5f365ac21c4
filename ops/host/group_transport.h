// Some ranks of a Transport as a Transport of their own, for collectives only.
#pragma once

#include <memory>
#include <span>

#include "horovod_cpp/ports/transport.h"

namespace hvd {

// Rank i of it is members[i] of `whole`; this rank is one of them. `whole` is not owned and must outlive the result. Calls of both are
// never under way at once on a rank, and members make their calls in the same order.
// abort: ends this view only, unless a call of it is under way. That call is then in the middle of a message of `whole`, which is
// aborted with it. wait is unimplemented: nobody waits for a subgroup.
std::unique_ptr<Transport> make_group_transport(Transport& whole, std::span<const int> members);

}  // namespace hvd
