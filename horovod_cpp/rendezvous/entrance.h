// Entrance: the sockets of the rendezvous server. Accepts connections, lets in who proves by TLS to know the job's key, and throws out
// strangers and who is silent. Knows nothing of ranks.
//
// Nothing is kept for strangers but a bounded number of connections: a new one takes the place of the oldest.
// One thread at a time; nothing blocks.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <string>

#include "horovod_cpp/base/log.h"
#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/unique_fd.h"
#include "horovod_cpp/rendezvous/connection.h"
#include "horovod_cpp/rendezvous/server.h"
#include "horovod_cpp/secure/keyed_hash.h"

namespace hvd::rendezvous_protocol {

class Entrance {
 public:
  // What the server does.
  struct Uses {
    // Something has come over a connection that is proven. False: it is of no more use.
    std::function<bool(Connection&)> serve;
    // Is about to be closed.
    std::function<void(Connection&)> gone;
    // Time has passed. Whether to call again, a second later.
    std::function<bool()> tick;
  };

  static Result<std::unique_ptr<Entrance>> open(const std::string& bind_address, const KeyedHash& key,
                                                const RendezvousLimits& limits, std::size_t most_strangers,
                                                Uses uses);

  const std::string& address() const { return address_; }
  int event_fd() const { return epoll_.get(); }
  int strangers_refused() const { return strangers_refused_; }
  void handle_events();

  // The connection with this descriptor; there is one.
  Connection& at(int fd) { return connections_.at(fd); }
  void for_each(const std::function<void(Connection&)>& visit) {
    for (auto& [fd, connection] : connections_) visit(connection);
  }
  // Sends it its last answer, and gives it some time to read it.
  void end_with(Connection& connection, std::shared_ptr<const Bytes> message);
  // Sends what is unsent, as far as the socket takes it.
  void flush(Connection& connection);
  // Uses::tick is wanted.
  void wake_up_later() { set_timer(true); }

 private:
  Entrance(UniqueFd listener, UniqueFd epoll, UniqueFd timer, std::string address, const KeyedHash& key,
           const RendezvousLimits& limits, std::size_t most_strangers, Uses uses);
  Status watch(int operation, int fd, std::uint32_t events);
  void set_timer(bool on);
  void handle_timer();
  void accept_some();
  void admit(UniqueFd socket);
  void serve(int fd);
  bool prove(Connection& connection);
  void refuse_stranger(int fd, const std::string& why);
  void drop(int fd);

  const UniqueFd listener_;
  const UniqueFd epoll_;
  const UniqueFd timer_;
  const std::string address_;
  const KeyedHash key_;
  const RendezvousLimits limits_;
  const std::size_t most_strangers_;
  const Uses uses_;
  const Log log_;
  std::map<int, Connection> connections_;  // by descriptor
  std::list<int> strangers_;               // those that are not proven, the oldest first
  int strangers_refused_ = 0;
  bool timer_is_on_ = false;
  bool accepting_is_paused_ = false;
};

}  // namespace hvd::rendezvous_protocol
