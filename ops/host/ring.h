// What the collectives over a Transport share. Private to ring_*.cpp.
//
// Errors: a failed Status leaves peers and this rank at different places of their streams; nothing can follow.
#pragma once

#include <vector>

#include "horovod_cpp/ports/collectives.h"
#include "horovod_cpp/ports/packing.h"
#include "horovod_cpp/ports/transport.h"
#include "ops/host/reduce.h"
#include "ops/host/ring_collectives.h"

namespace hvd {

struct Ring {
  Transport& transport;
  RingTuning tuning;
  const ReduceKernels& kernels = fastest_reduce_kernels();
  // Scratch, kept between calls.
  Bytes packed = {};
  Bytes received = {};
  std::vector<Bytes> gathered = {};

  int rank() const { return transport.rank(); }
  int size() const { return transport.size(); }
  // The rank that is `distance` further around the ring; negative distances go back.
  int around(int distance) const { return ((rank() + distance) % size() + size()) % size(); }
};

// Sends the bytes sent(to) to every other rank, receives received(from) from it. All ranks talk at once, each
// to the one at the same distance.
template <class Sent, class Received>
Status exchange_with_all(Ring& ring, Sent&& sent, Received&& received, Deadline deadline) {
  for (int distance = 1; distance < ring.size(); ++distance) {
    const int to = ring.around(distance), from = ring.around(-distance);
    HVD_RETURN_IF_ERROR(ring.transport.exchange(to, sent(to), from, received(from), deadline));
  }
  return {};
}

// part(r) is memory for rank r's bytes; this rank's are there. Afterwards all are.
template <class Part>
Status pass_around(Ring& ring, Part&& part, Deadline deadline) {
  for (int step = 0; step < ring.size() - 1; ++step) {
    HVD_RETURN_IF_ERROR(ring.transport.exchange(ring.around(1), part(ring.around(-step)), ring.around(-1),
                                                part(ring.around(-step - 1)), deadline));
  }
  return {};
}

// `array` holds the slices of the request, at least one byte. At least two ranks.
Status ring_allreduce(Ring& ring, const AllreduceRequest& request, const PackedArray& array);
Status ring_broadcast(Ring& ring, const BroadcastRequest& request, const PackedArray& array);
// This rank's own part of the output is there already.
Status ring_allgather(Ring& ring, const AllgatherRequest& request);
Status ring_alltoall(Ring& ring, const AlltoallRequest& request);
Status ring_reducescatter(Ring& ring, const ReducescatterRequest& request);

}  // namespace hvd
