// Declaration: an operation on a named tensor, as all ranks must declare it alike.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/types.h"

namespace hvd {

struct Declaration {
  std::string name = {};  // unique among the operations of a process set
  OpKind kind = OpKind::allreduce;
  DataType dtype = DataType::float32;
  // allgather and alltoall: of one row (the tensor's without its first dimension); how many rows there are is said at each submission.
  // share_memory: {bytes, what stands for their use: ranks must agree on it}.
  Shape shape = {};
  DeviceId device = {};             // ranks may differ in the index
  ReduceOp op = ReduceOp::average;  // allreduce, reducescatter
  double prescale = 1.0;            // allreduce, reducescatter: each input is multiplied by this …
  double postscale = 1.0;           // … and the result by this; integers take 1 only
  int root = 0;                     // broadcast: a rank of the Session, also within a process set
  int process_set = 0;              // who takes part; 0: all ranks. remove_process_set: which one
  std::vector<int> ranks = {};      // add_process_set: its members, ascending
  // Operations of one group are executed once all group_size of them are ready everywhere, or end with one error. They are submitted in
  // one call. Empty: no group.
  std::string group = {};
  int group_size = 0;
  friend bool operator==(const Declaration&, const Declaration&) = default;
};

// Numbers of one execution that ranks may have different: allgather: {rows}; alltoall: rows for each member of the process set; otherwise
// none.
using Extents = std::vector<std::int64_t>;

// Finds what is wrong with a declaration on its own, before any other rank sees it. `members`: the ranks that take part.
Status validate(const Declaration& declaration, int rank, std::span<const int> members);
// … and with the extents of an execution.
Status validate(const Declaration& declaration, const Extents& extents, int rank, std::size_t members);

struct RankDeclaration {
  int rank;
  const Declaration* declaration;
};
// ok if all ranks mean the same operation; otherwise a mismatch that names the tensor, the property and each rank's value.
Status check_agreement(std::span<const RankDeclaration> declarations);

// ok if the operation has a meaning although `joined` ranks have no data for it: they contribute zeros, or no rows.
Status check_join(const Declaration& declaration, std::span<const int> joined);

// Whether all ranks of the Session take part, whatever the process set.
bool concerns_all_ranks(OpKind kind);

// What a backend has to do for a reduction: one op and one factor. `size`: how many ranks take part.
struct EffectiveReduction {
  ReduceOp op;
  double scale;
};
EffectiveReduction effective_reduction(const Declaration& declaration, int size);

// How a reducescatter divides `rows` rows among `ranks` ranks: as evenly as can be, the first ones get one more.
std::vector<std::int64_t> reducescatter_rows(std::int64_t rows, std::size_t ranks);

// "allreduce 'layer1.weight'", and " of process set 3" where it is not all ranks.
std::string describe(const Declaration& declaration);

}  // namespace hvd
