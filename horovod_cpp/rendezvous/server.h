// RendezvousServer: where the ranks of a job meet.
// Each brings a payload; when all have come, each gets all payloads.
//
// It lives in somebody else's poll loop (the launcher's): whenever event_fd() is readable, call
// handle_events(). Nothing blocks. When a round is complete the next one is open, so the ranks can meet
// again; after a loss, those who are left (membership.h). Who does not know the job key, speaks another version, or claims a rank that is out of range or
// taken is refused with a reason; who says nothing is dropped after a while; neither disturbs the others. A
// rank that breaks off makes its place free again.
// Threading: one thread at a time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/rendezvous/membership.h"

namespace hvd {

class RendezvousServer {
 public:
  // `bind_address` is numeric, with or without a port: "127.0.0.1", "0.0.0.0:4000", "[::]:0". Without one, or
  // with port 0, the system chooses it.
  static Result<std::unique_ptr<RendezvousServer>> listen(const std::string& bind_address, int size,
                                                          std::string job_key, LossPolicy losses = {});
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
  // Ranks that live, or did then, but did not come when the others met again after a loss. Ascending.
  std::vector<int> given_up() const;

 private:
  class Body;
  explicit RendezvousServer(std::unique_ptr<Body> body);
  std::unique_ptr<Body> body_;
};

}  // namespace hvd
