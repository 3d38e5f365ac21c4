// Watcher: a thread that sleeps until a peer dies or says why it ends. Uses no processor time otherwise.
//
// It reads one socket a peer (SessionParts::peer_links). A peer that ends well says goodbye first; a socket that ends without one is
// a death. So is the end of the peer's process, which the kernel tells for peers on this host: children that the peer has forked
// may keep its socket open. A peer that fails says why, so that all ranks name the first cause.
// Threading: announce and say_goodbye may be called from any thread.
#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/unique_fd.h"
#include "horovod_cpp/base/wire.h"

namespace hvd {

class Watcher {
 public:
  // links[r] is a connected stream socket to rank r, closed for this rank itself. `on_loss` is called on the watcher's thread,
  // once for each peer lost, and must not block.
  static Result<std::unique_ptr<Watcher>> create(std::vector<UniqueFd> links,
                                                 std::function<void(const Status&)> on_loss);
  // Once. Before it nothing is noticed.
  void start();
  // Joins the thread and closes the links.
  ~Watcher();

  // Tells every peer that this rank ends well.
  void say_goodbye();
  // Tells every peer why this rank fails.
  void announce(const Status& why);

 private:
  struct Peer {
    UniqueFd socket;
    UniqueFd process;  // pidfd; closed for a peer on another host
    Bytes unread;
    bool has_ended = false;  // said goodbye, or its loss was reported
  };

  Watcher(std::vector<Peer> peers, UniqueFd epoll, UniqueFd stop, std::function<void(const Status&)> on_loss);
  void run();
  // Reads what has arrived; false once the socket has ended.
  bool read_from(int rank);
  void notice_end(int rank);
  void parse(int rank);
  void refuse(int rank);
  void stop_watching(const Peer& peer);
  void lose(int rank, const Status& why);
  void send_to_all(const Bytes& frame);

  std::vector<Peer> peers_;
  UniqueFd epoll_;
  UniqueFd stop_;
  std::function<void(const Status&)> on_loss_;
  std::thread thread_;
};

}  // namespace hvd
