// Watcher: a thread that sleeps until a peer dies or says why it ends, or this rank waits for others. Uses no processor time otherwise.
//
// It reads one socket a peer (SessionParts::peer_links). A peer that ends well says goodbye first; a socket that ends without one is
// a death. So is the end of the peer's process, which the kernel tells for peers on this host: children that the peer has forked
// may keep its socket open. A peer that fails says why, so that all ranks name the first cause.
// It also carries pictures of what each rank is doing (picture_gathering.h), and asks peers that this rank waits for whether they are there
// (peer_monitor.h).
// Threading: announce, say_goodbye, want_picture and trouble_of may be called from any thread.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/unique_fd.h"
#include "horovod_cpp/base/wire.h"
#include "horovod_cpp/coordinator/peer_monitor.h"
#include "horovod_cpp/coordinator/picture_gathering.h"
#include "horovod_cpp/secure/secure_socket.h"

namespace hvd {

class Watcher {
 public:
  // What pictures need of this rank; both are called on the watcher's thread and must not block. `signal`: an eventfd, or closed; a picture
  // is wanted when it becomes readable.
  struct Pictures {
    int rank = 0;
    int size = 1;
    std::function<Bytes()> take;
    std::function<void(const std::string& why, const std::string& words)> tell;
    UniqueFd signal;
  };

  // What waiting for others needs of this rank; called on the watcher's thread, must not block.
  struct Waiting {
    std::chrono::seconds warn_after{};  // 0: never
    std::chrono::seconds end_after{};   // 0: never
    std::function<std::uint64_t()> position;
    std::function<std::optional<PeerMonitor::Own>()> look;  // nothing once the world has failed
    std::function<std::string()> what;                      // "allreduce 'x'": what this rank waits for
    std::function<void(const std::string& words)> warn;
  };

  // links[r] is a connected stream socket to rank r, closed for this rank itself. `on_loss` is called on the watcher's thread,
  // once for each peer lost, and must not block. If it fails the peers are told why.
  static Result<std::unique_ptr<Watcher>> create(std::vector<SecureSocket> links,
                                                 std::function<void(const Status&)> on_loss,
                                                 Pictures pictures, Waiting waiting);
  // Once. Before it nothing is noticed. unavailable: there is no room for a thread.
  Status start();
  // Joins the thread.
  void stop();
  // Stops, and closes the links.
  ~Watcher();

  // Tells every peer that this rank ends well.
  void say_goodbye();
  // Tells every peer why this rank fails.
  void announce(const Status& why);
  // What is known to hold up the process of that rank, on this host: "its process is stopped …"; empty: nothing.
  std::string trouble_of(int rank) const;
  // One rank of those that want it at about the same time tells the picture of all.
  void want_picture(const std::string& why);
  // The same when the world has failed. Once.
  void want_last_picture(const std::string& why);

 private:
  struct Peer {
    SecureSocket socket;  // guarded by send_mutex_ from start on
    UniqueFd process;     // pidfd; closed for a peer on another host
    Bytes unread;
    int error = 0;           // errno with which the socket ended; 0: the other side closed it
    bool has_ended = false;  // said goodbye, or its loss was reported
    Bytes unsent;            // the rest of a message; guarded by send_mutex_
  };
  // Wishes of other threads.
  struct Mail {
    std::optional<std::string> wish;
    std::optional<std::string> failure;
  };

  Watcher(std::vector<Peer> peers, UniqueFd epoll, UniqueFd stop, UniqueFd mail,
          std::function<void(const Status&)> on_loss, Pictures pictures, Waiting waiting);
  void run();
  void handle(std::uint64_t tag);
  void open_gathering();
  void read_mail();
  bool has_read(const UniqueFd& eventfd) const;
  void end_gathering();
  // Reads what has arrived; false once the socket has ended.
  bool read_from(int rank);
  Progress receive_some(Peer& peer, std::span<std::byte> bytes);
  void notice_end(int rank);
  void parse(int rank);
  void refuse(int rank);
  void stop_watching(const Peer& peer);
  void lose(int rank, const Status& why);
  void send_to_all(const Bytes& frame);
  void send_to(Peer& peer, const Bytes& frame);
  void send_rest(Peer& peer);
  void look_at_peers();
  void tell_of(const PeerMonitor::Silent& silent);
  void tell_of(const PeerMonitor::HeldUp& held_up);
  std::set<int> linked() const;

  std::vector<Peer> peers_;
  UniqueFd epoll_;
  UniqueFd stop_;
  UniqueFd mail_bell_;
  std::function<void(const Status&)> on_loss_;
  Pictures pictures_;
  Waiting waiting_;
  std::optional<PictureGathering> gathering_;
  std::optional<PeerMonitor> monitor_;
  std::mutex send_mutex_;
  std::mutex mail_mutex_;
  Mail mail_;
  std::thread thread_;
};

}  // namespace hvd
