// Bytes of any length between pairs of ranks: everything of MPI that is not a reduction, a broadcast or a barrier.
//
// They travel in pieces through the channel's staging memory: MPI's counts are int, and it must not see the caller's memory (see
// channel.h). MPI_Iallgatherv and MPI_Ialltoallv would need a second way for long tensors, and in Open MPI send the same messages.
#pragma once

#include <span>

#include "ops/mpi/channel.h"

namespace hvd::mpi {

// What is sent to one other rank, and what is expected from it. Nothing travels where a span is empty.
struct Parcel {
  int peer = 0;
  std::span<const std::byte> send;
  std::span<std::byte> receive;
};

// Returns when all have arrived. Both sides of a pair name the same lengths: a difference fails the channel. At most one parcel of a
// direction a peer.
Status swap_parcels(Channel& channel, std::span<const Parcel> parcels, int tag, Deadline deadline,
                    const char* operation);

}  // namespace hvd::mpi
