// RendezvousServer: where the ranks of a job meet.
// Each brings a payload; when all have come, each gets all payloads.
//
// It lives in somebody else's poll loop (the launcher's): whenever event_fd() is readable, call
// handle_events(). Nothing blocks. When a round is complete the next one is open, so the ranks can meet
// again; after a loss, those who are left (membership.h). Connections are TLS 1.3, keyed with the job key: who does not know it gets no further
// than the handshake, and a line of the log. Who speaks another version, or claims a rank that is out of range or taken, is refused with a
// reason; who is not through with handshake and hello in time is dropped. None disturbs the others: nothing is kept for strangers but a bounded
// number of connections. A rank that breaks off makes its place free again.
// Threading: one thread at a time.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/rendezvous/membership.h"

namespace hvd {

struct RendezvousLimits {
  // How long a connection may stay without a valid hello, or with its last answer unread.
  std::chrono::milliseconds patience{10'000};
  // Refused strangers that are logged one by one.
  int logged_strangers = 20;
};

class RendezvousServer {
 public:
  // `bind_address` is numeric, with or without a port: "127.0.0.1", "0.0.0.0:4000", "[::]:0". Without one, or
  // with port 0, the system chooses it.
  static Result<std::unique_ptr<RendezvousServer>> listen(const std::string& bind_address, int size,
                                                          const std::string& job_key, LossPolicy losses = {},
                                                          RendezvousLimits limits = {});
  ~RendezvousServer();
  RendezvousServer(const RendezvousServer&) = delete;
  RendezvousServer& operator=(const RendezvousServer&) = delete;

  // "127.0.0.1:40123"
  const std::string& address() const;
  // Readable (poll, epoll) when there is something to do. Owned by the server.
  int event_fd() const;
  void handle_events();

  // The process of a rank has ended, well or not.
  void rank_ended(int rank, bool well);
  // Whether the job goes on in spite of what it has lost.
  bool can_go_on() const;
  // Who waits for whom.
  Attendance attendance() const;
  // Ranks that live, or did then, but did not come when the others met again after a loss. Ascending.
  std::vector<int> given_up() const;
  // Connections that were refused before they had proven to belong to the job.
  int strangers_refused() const;

 private:
  class Body;
  explicit RendezvousServer(std::unique_ptr<Body> body);
  std::unique_ptr<Body> body_;
};

}  // namespace hvd
