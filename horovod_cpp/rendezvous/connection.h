// Connection: one client of the rendezvous server, as bytes.
#pragma once

#include <array>
#include <chrono>
#include <deque>
#include <memory>
#include <span>

#include "horovod_cpp/rendezvous/protocol.h"
#include "horovod_cpp/secure/secure_socket.h"

namespace hvd::rendezvous_protocol {

struct Connection {
  SecureSocket socket;
  bool is_proven = false;  // knows the job key
  MessageReader reader{kMaxHelloBytes};
  int rank = -1;           // >= 0: waits for the others
  bool has_met = false;    // connects to them now; is told if one ends
  bool is_ending = false;  // gets its last answer; what it still sends is discarded
  std::chrono::steady_clock::time_point expires;
  std::deque<std::shared_ptr<const Bytes>> unsent;
  std::size_t sent_of_first = 0;

  bool can_expire() const { return rank < 0 && !has_met; }

  // Sends what the socket takes. A lost connection shows when it is read.
  void flush() {
    while (!unsent.empty()) {
      const Progress progress = socket.send_some(std::span(*unsent.front()).subspan(sent_of_first));
      if (progress.bytes == 0) break;
      sent_of_first += progress.bytes;
      if (sent_of_first < unsent.front()->size()) continue;
      unsent.pop_front();
      sent_of_first = 0;
    }
    // The rank closes first: a close with unread questions in the
    // socket would reset it and might destroy our last answer.
    if (unsent.empty() && is_ending) socket.end_sending();
  }

  // Reads what comes after our last answer was decided,
  // a bounded amount at a time. False once the other side has closed.
  bool discard() {
    std::array<std::byte, 16384> scratch{};
    for (int i = 0; i < 16; ++i) {
      const Progress progress = socket.receive_some(scratch);
      if (!progress.is_open) return false;
      if (progress.bytes == 0) break;
    }
    return true;
  }
};

}  // namespace hvd::rendezvous_protocol
