// SecureSocket: a connected, non-blocking stream socket that carries its bytes plainly or over TLS 1.3.
//
// TLS is by a pre-shared key alone (no certificates, no tickets, no early data), with a fresh Diffie-Hellman exchange each time: who does not
// know the key gets no further than the handshake, a recorded handshake is of no use to anybody, and a key that becomes known later opens
// nothing that was recorded. Never raises SIGPIPE.
//
// Threading: one thread at a time; shutdown(2) on fd() is allowed from any. send_some must be called again with the same bytes after it took
// none: they may lie, encrypted, half in the socket.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/socket.h"
#include "horovod_cpp/base/status.h"
#include "horovod_cpp/base/unique_fd.h"

namespace hvd {

class SecureSocket {
 public:
  enum class Side { connects, accepts };

  SecureSocket();  // closed
  // Plain bytes.
  explicit SecureSocket(UniqueFd socket);
  // TLS; handshake() comes before anything else. `key` has 32 bytes.
  static Result<SecureSocket> over_tls(UniqueFd socket, Side side, std::span<const std::byte> key);
  SecureSocket(SecureSocket&&) noexcept;
  SecureSocket& operator=(SecureSocket&&) noexcept;
  ~SecureSocket();

  int fd() const { return socket_.get(); }
  bool is_open() const { return socket_.is_open(); }
  bool is_secure() const { return tls_ != nullptr; }

  // One step, without waiting. true: done (plain: at once); false: call again when fd() has wanted_events(). unavailable: the other side
  // has another key, or does not speak our TLS; aborted: it closed the connection without a word.
  Result<bool> handshake();
  // What handshake, or a send that took nothing, waits for: POLLIN or POLLOUT.
  short wanted_events() const;

  // As the functions in base/socket.h. What arrived may be buffered here: wait for fd() only after receive_some gave nothing.
  Progress send_some(std::span<const std::byte> first, std::span<const std::byte> second = {});
  Progress receive_some(std::span<std::byte> bytes);
  Status send_all(std::span<const std::byte> bytes, Deadline deadline);
  // Says that nothing more will be sent.
  void end_sending();

 private:
  struct Tls;
  UniqueFd socket_;
  std::unique_ptr<Tls> tls_;
};

// Sockets that carry plain bytes.
std::vector<SecureSocket> plain_sockets(std::vector<UniqueFd> sockets);

// Handshakes until done or the deadline.
Status handshake_until(SecureSocket& socket, Deadline deadline);

}  // namespace hvd
