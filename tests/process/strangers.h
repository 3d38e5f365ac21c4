// Connections of strangers to the sockets of a job, many at once, from one thread: what they say is recorded, wrong, cut, mixed up or slow.
//
// For tests of processes: nothing here knows a job's key, but for what somebody on the network could have recorded.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "horovod_cpp/base/socket.h"
#include "horovod_cpp/base/wire.h"

namespace hvd {

// What strangers say: whole handshakes and frames, that are then repeated, cut and changed.
std::vector<Bytes> words_of_strangers();
// The first words of a rank of a job with this key, as somebody on the network records them.
Bytes recorded_hello(const std::string& job_key);

class Strangers {
 public:
  // `words`: at least one. `targets`: where they go, in turn.
  Strangers(std::vector<Bytes> words, std::uint64_t seed);
  ~Strangers();
  Strangers(const Strangers&) = delete;
  Strangers& operator=(const Strangers&) = delete;

  // Makes `count` connections to the targets, or as many until is_over() says so.
  void hammer(const std::vector<SocketAddress>& targets, long count, const std::function<bool()>& is_over);

  struct Counts {
    long connections = 0;  // each with a frame or handshake, or a part of one, or nothing
    long refused = 0;      // closed by the other side
    long failed = 0;       // never came to be: nobody listens, or the queue is full
    long bytes = 0;
  };
  const Counts& counts() const;

 private:
  class Body;
  std::unique_ptr<Body> body_;
};

// The TCP ports on which these processes listen now.
std::vector<std::uint16_t> listening_ports(const std::vector<int>& pids);

}  // namespace hvd
