#include "ops/mpi/mpi_transport.h"

#include <algorithm>
#include <cstring>

#include "horovod_cpp/base/text.h"
#include "ops/mpi/parcels.h"

namespace hvd::mpi {
namespace {

enum Tag : int { kExchange = 1, kFrame = 2, kRest = 3 };

// An all_gather's contribution travels as a frame, {length, the first bytes},
// and, if it is longer than fits, the rest as parcels.
// Short enough for every MPI to send it without waiting for the receiver.
constexpr std::size_t kFrameBytes = 4000;
constexpr std::size_t kBytesInFrame = kFrameBytes - sizeof(std::uint64_t);

// What all_gather's requests read and write; kept for ever if they are abandoned.
struct Frames {
  Bytes outgoing;
  Bytes incoming;  // kFrameBytes a rank
  std::vector<Bytes> contributions;
};

class MpiTransport final : public Transport {
 public:
  explicit MpiTransport(std::unique_ptr<Channel> channel) : channel_(std::move(channel)) {}

  const char* name() const override { return "mpi"; }
  int rank() const override { return channel_->rank(); }
  int size() const override { return channel_->size(); }

  Status exchange(int to, std::span<const std::byte> send, int from, std::span<std::byte> receive,
                  Deadline deadline) override;
  Status all_gather(std::span<const std::byte> mine, std::vector<Bytes>& all, Deadline deadline) override;
  Result<bool> wait(Deadline deadline) override;
  void notify() override {
    notified_.store(true);
    channel_->notify();
  }
  void abort(const Status& why) override { channel_->abort(why); }

 private:
  Status check_peer(int peer, std::size_t bytes, const char* direction) const;
  Status swap_frames(Frames& frames, std::span<const std::byte> mine, Deadline deadline);
  Status swap_rests(Frames& frames, std::span<const std::byte> mine, Deadline deadline);

  std::unique_ptr<Channel> channel_;
  std::atomic<bool> notified_{false};
  std::vector<MPI_Request> requests_;
  std::vector<MPI_Status> statuses_;
  std::shared_ptr<Frames> frames_ = std::make_shared<Frames>();
};

Status MpiTransport::check_peer(int peer, std::size_t bytes, const char* direction) const {
  if (bytes == 0 || (peer >= 0 && peer < size() && peer != rank())) return {};
  return Status::invalid_argument(text("rank ", rank(), ": exchange of ", bytes, " bytes ", direction,
                                       " rank ", peer, ": expected another rank in [0, ", size(), ")"));
}

Status MpiTransport::exchange(int to, std::span<const std::byte> send, int from, std::span<std::byte> receive,
                              Deadline deadline) {
  const Runtime::Use use(channel_->runtime());
  HVD_RETURN_IF_ERROR(channel_->status());
  HVD_RETURN_IF_ERROR(check_peer(to, send.size(), "to"));
  HVD_RETURN_IF_ERROR(check_peer(from, receive.size(), "from"));
  const Parcel parcels[] = {{to, send, {}}, {from, {}, receive}};
  return swap_parcels(*channel_, parcels, kExchange, deadline, "exchange");
}

Status MpiTransport::all_gather(std::span<const std::byte> mine, std::vector<Bytes>& all, Deadline deadline) {
  const Runtime::Use use(channel_->runtime());
  HVD_RETURN_IF_ERROR(channel_->status());
  frames_->contributions.resize(static_cast<std::size_t>(size()));
  Status status = swap_frames(*frames_, mine, deadline);
  if (status.is_ok()) status = swap_rests(*frames_, mine, deadline);
  if (!status.is_ok()) {
    channel_->runtime().keep_for_ever(frames_);
    return status;
  }
  std::swap(all, frames_->contributions);
  return {};
}

Status MpiTransport::swap_frames(Frames& frames, std::span<const std::byte> mine, Deadline deadline) {
  requests_.clear();
  const auto head = mine.first(std::min(mine.size(), kBytesInFrame));
  const auto length = static_cast<std::uint64_t>(mine.size());
  frames.outgoing.resize(sizeof(length) + head.size());
  std::memcpy(frames.outgoing.data(), &length, sizeof(length));
  std::copy(head.begin(), head.end(), frames.outgoing.begin() + sizeof(length));
  frames.incoming.resize(static_cast<std::size_t>(size()) * kFrameBytes);

  const auto frame_of = [&](int peer) {
    return std::span(frames.incoming).subspan(static_cast<std::size_t>(peer) * kFrameBytes, kFrameBytes);
  };
  std::vector<int> peers;
  for (int step = 1; step < size(); ++step) {
    const int peer = (rank() + step) % size();
    peers.push_back(peer);
    requests_.push_back(MPI_REQUEST_NULL);
    HVD_RETURN_IF_ERROR(
        channel_->check(MPI_Irecv(frame_of(peer).data(), static_cast<int>(kFrameBytes), MPI_BYTE, peer,
                                  kFrame, channel_->communicator(), &requests_.back()),
                        "MPI_Irecv", "all_gather"));
  }
  for (const int peer : peers) {
    requests_.push_back(MPI_REQUEST_NULL);
    HVD_RETURN_IF_ERROR(
        channel_->check(MPI_Isend(frames.outgoing.data(), static_cast<int>(frames.outgoing.size()), MPI_BYTE,
                                  peer, kFrame, channel_->communicator(), &requests_.back()),
                        "MPI_Isend", "all_gather"));
  }
  HVD_RETURN_IF_ERROR(channel_->wait_all(requests_, &statuses_, deadline, "all_gather"));

  frames.contributions[static_cast<std::size_t>(rank())].assign(mine.begin(), mine.end());
  for (std::size_t i = 0; i < peers.size(); ++i) {
    const auto frame = frame_of(peers[i]);
    int got = 0;
    MPI_Get_count(&statuses_[i], MPI_BYTE, &got);
    std::uint64_t theirs = 0;
    std::memcpy(&theirs, frame.data(), sizeof(theirs));
    const std::size_t in_frame = std::min<std::uint64_t>(theirs, kBytesInFrame);
    if (static_cast<std::size_t>(got) != sizeof(theirs) + in_frame) {
      return channel_->fail(
          Status::internal(text("rank ", rank(), ": all_gather over MPI: a frame of ", got,
                                " bytes from rank ", peers[i], " announces ", theirs, " bytes")),
          "all_gather");
    }
    Bytes& contribution = frames.contributions[static_cast<std::size_t>(peers[i])];
    contribution.resize(theirs);
    std::copy_n(frame.data() + sizeof(theirs), in_frame, contribution.begin());
  }
  return {};
}

Status MpiTransport::swap_rests(Frames& frames, std::span<const std::byte> mine, Deadline deadline) {
  const auto rest_of = [](auto bytes) { return bytes.subspan(std::min(bytes.size(), kBytesInFrame)); };
  std::vector<Parcel> parcels;
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank()) continue;
    const std::span<std::byte> theirs = frames.contributions[static_cast<std::size_t>(peer)];
    parcels.push_back({peer, rest_of(mine), rest_of(theirs)});
  }
  return swap_parcels(*channel_, parcels, kRest, deadline, "all_gather");
}

Result<bool> MpiTransport::wait(Deadline deadline) {
  const Runtime::Use use(channel_->runtime());
  Backoff backoff(Awaiting::arrival, channel_->runtime().ranks_on_host());
  for (;;) {
    const auto seen = channel_->bell().rings();
    HVD_RETURN_IF_ERROR(channel_->status());
    int arrived = 0;
    HVD_RETURN_IF_ERROR(channel_->check(
        MPI_Iprobe(MPI_ANY_SOURCE, kFrame, channel_->communicator(), &arrived, MPI_STATUS_IGNORE),
        "MPI_Iprobe", "wait"));
    if (arrived != 0) return true;
    if (notified_.exchange(false) || deadline.passed()) return false;
    backoff.pause(channel_->bell(), seen, deadline);
  }
}

}  // namespace

Result<std::unique_ptr<Transport>> open_transport(Runtime& runtime, Deadline deadline) {
  auto channel = Channel::open(runtime, deadline);
  HVD_RETURN_IF_ERROR(channel.status());
  return std::unique_ptr<Transport>(std::make_unique<MpiTransport>(std::move(channel).value()));
}

}  // namespace hvd::mpi
