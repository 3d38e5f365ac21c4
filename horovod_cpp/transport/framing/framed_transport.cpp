#include "horovod_cpp/transport/framing/framed_transport.h"

#include <atomic>
#include <utility>

#include "horovod_cpp/base/abort_latch.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/transport/framing/messages.h"

namespace hvd {
namespace {

class FramedTransport final : public Transport {
 public:
  explicit FramedTransport(std::unique_ptr<ByteLanes> lanes) : lanes_(std::move(lanes)) {}

  const char* name() const override { return lanes_->name(); }
  int rank() const override { return lanes_->rank(); }
  int size() const override { return lanes_->size(); }

  Status exchange(int to, std::span<const std::byte> send, int from, std::span<std::byte> receive,
                  Deadline deadline) override;
  Status all_gather(std::span<const std::byte> mine, std::vector<Bytes>& all, Deadline deadline) override;
  Result<bool> wait(Deadline deadline) override;
  void notify() override {
    notified_.store(true);
    lanes_->wake();
  }
  bool may_change_threads() const override { return true; }
  void abort(const Status& why) override {
    latch_.set(why);
    lanes_->wake();
    if (!hung_up_.exchange(true)) lanes_->hang_up(latch_.status());
  }

 private:
  bool is_peer(int rank) const { return rank >= 0 && rank < size() && rank != this->rank(); }
  // Moves all messages to their end. Both vectors are used up.
  Status move_all(std::vector<OutgoingMessage>& outgoing, std::vector<IncomingMessage>& incoming,
                  const char* operation, Deadline deadline);
  Status fail(const Status& why) {
    latch_.set(why);
    return latch_.status();
  }

  const std::unique_ptr<ByteLanes> lanes_;
  AbortLatch latch_;
  std::atomic<bool> notified_{false};
  std::atomic<bool> hung_up_{false};
  std::vector<OutgoingMessage> outgoing_;  // kept for their capacity
  std::vector<IncomingMessage> incoming_;
  std::vector<int> readers_, writers_;
};

// Advances each message, forgets those that are done and lists the peers of the others.
template <class Message>
Status advance_all(std::vector<Message>& messages, ByteLanes& lanes, std::vector<int>& waiting) {
  Status outcome;
  waiting.clear();
  std::erase_if(messages, [&](Message& message) {
    if (outcome.is_ok()) outcome = message.advance(lanes);
    if (message.is_done()) return true;
    waiting.push_back(message.peer());
    return false;
  });
  return outcome;
}

std::string list_of(const std::vector<int>& ranks) {
  std::string out;
  for (const int rank : ranks) out += (out.empty() ? "" : ", ") + std::to_string(rank);
  return out;
}

Status FramedTransport::move_all(std::vector<OutgoingMessage>& outgoing,
                                 std::vector<IncomingMessage>& incoming, const char* operation,
                                 Deadline deadline) {
  const auto where = [&] { return text("rank ", rank(), ": ", operation, " over ", name(), ": "); };
  while (true) {
    if (latch_.is_set()) return latch_.status();
    Status moved = advance_all(outgoing, *lanes_, writers_);
    if (moved.is_ok()) moved = advance_all(incoming, *lanes_, readers_);
    if (!moved.is_ok()) return fail(moved.with_prefix(where()));
    if (outgoing.empty() && incoming.empty()) return {};
    if (deadline.passed()) {
      return fail(Status::timed_out(where() +
                                    (incoming.empty() ? "could not send to rank " + list_of(writers_)
                                                      : "nothing more came from rank " + list_of(readers_)) +
                                    " before the deadline"));
    }
    if (const Status slept = lanes_->sleep(readers_, writers_, deadline); !slept.is_ok()) {
      return fail(slept.with_prefix(where()));
    }
  }
}

Status FramedTransport::exchange(int to, std::span<const std::byte> send, int from,
                                 std::span<std::byte> receive, Deadline deadline) {
  if (latch_.is_set()) return latch_.status();
  outgoing_.clear();
  incoming_.clear();
  if (!send.empty()) {
    if (!is_peer(to))
      return Status::invalid_argument(text("rank ", rank(), ": exchange: cannot send to rank ", to));
    outgoing_.emplace_back(to, MessageKind::exchange, send);
  }
  if (!receive.empty()) {
    if (!is_peer(from))
      return Status::invalid_argument(text("rank ", rank(), ": exchange: cannot receive from rank ", from));
    incoming_.emplace_back(from, MessageKind::exchange, receive);
  }
  return move_all(outgoing_, incoming_, "exchange", deadline);
}

Status FramedTransport::all_gather(std::span<const std::byte> mine, std::vector<Bytes>& all,
                                   Deadline deadline) {
  if (latch_.is_set()) return latch_.status();
  if (mine.size() > kMaxMessageBytes) {
    return Status::invalid_argument(text("rank ", rank(), ": all_gather: ", mine.size(), " bytes; at most ",
                                         kMaxMessageBytes, " are possible"));
  }
  std::vector<Bytes> gathered(static_cast<std::size_t>(size()));
  outgoing_.clear();
  incoming_.clear();
  // Each rank starts with its successor, so that not everybody talks to rank 0 first.
  for (int step = 1; step < size(); ++step) {
    const int to = (rank() + step) % size();
    const int from = (rank() + size() - step) % size();
    outgoing_.emplace_back(to, MessageKind::all_gather, mine);
    incoming_.emplace_back(from, MessageKind::all_gather, &gathered[static_cast<std::size_t>(from)]);
  }
  HVD_RETURN_IF_ERROR(move_all(outgoing_, incoming_, "all_gather", deadline));
  gathered[static_cast<std::size_t>(rank())].assign(mine.begin(), mine.end());
  all = std::move(gathered);
  return {};
}

Result<bool> FramedTransport::wait(Deadline deadline) {
  readers_.clear();
  for (int peer = 0; peer < size(); ++peer) {
    if (peer != rank()) readers_.push_back(peer);
  }
  const auto where = [&] { return text("rank ", rank(), ": wait over ", name(), ": "); };
  while (true) {
    if (latch_.is_set()) return latch_.status();
    const auto readable = lanes_->any_readable();
    if (!readable.is_ok()) return fail(readable.status().with_prefix(where()));
    if (readable.value()) return true;
    if (notified_.exchange(false)) return false;
    if (deadline.passed()) return false;
    if (const Status slept = lanes_->sleep(readers_, {}, deadline); !slept.is_ok()) {
      return fail(slept.with_prefix(where()));
    }
  }
}

}  // namespace

std::unique_ptr<Transport> make_framed_transport(std::unique_ptr<ByteLanes> lanes) {
  return std::make_unique<FramedTransport>(std::move(lanes));
}

}  // namespace hvd
