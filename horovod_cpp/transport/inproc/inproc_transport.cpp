#include <utility>

#include "horovod_cpp/transport/inproc/anonymous_memory.h"
#include "horovod_cpp/transport/inproc/inproc.h"
#include "horovod_cpp/transport/stream/stream.h"

namespace hvd {

std::vector<std::unique_ptr<Transport>> make_inproc_transports(int size) {
  std::vector<MappedMemory> segments;
  for (int rank = 0; rank < size; ++rank) {
    auto memory = map_anonymous_memory(stream_segment_bytes(size));
    if (!memory.is_ok()) return {};
    segments.push_back(std::move(memory).value());
  }
  std::vector<std::unique_ptr<Transport>> transports;
  for (int rank = 0; rank < size; ++rank) {
    auto transport = make_stream_transport(rank, segments, "inproc");
    if (!transport.is_ok()) return {};
    transports.push_back(std::move(transport).value());
  }
  return transports;
}

}  // namespace hvd
