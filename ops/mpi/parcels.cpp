#include "ops/mpi/parcels.h"

#include <algorithm>
#include <cstring>

#include "horovod_cpp/base/text.h"

namespace hvd::mpi {
namespace {

// Long enough that a message's costs do not matter, short enough for processor caches.
constexpr std::size_t kLongestPiece = std::size_t{512} << 10;
constexpr std::size_t kShortestPiece = std::size_t{4} << 10;
constexpr std::size_t kMostInFlight = std::size_t{64} << 20;

// The same on both sides of a pair: it depends on the channel's size only.
std::size_t piece_bytes(int size) {
  return std::clamp(kMostInFlight / static_cast<std::size_t>(size), kShortestPiece, kLongestPiece);
}

template <class Byte>
std::span<Byte> piece_of(std::span<Byte> whole, std::size_t at, std::size_t bytes) {
  if (at >= whole.size()) return {};
  return whole.subspan(at, std::min(bytes, whole.size() - at));
}

// One piece of every parcel that has one.
class Round {
 public:
  Round(Channel& channel, int tag, Deadline deadline, const char* operation)
      : channel_(channel), tag_(tag), deadline_(deadline), operation_(operation) {}

  Status run(std::span<const Parcel> parcels, std::size_t at, std::size_t bytes);

 private:
  struct Receive {
    int peer;
    std::span<std::byte> into;
    const std::byte* staged;
    std::size_t request;
  };
  Status receive(int peer, std::span<std::byte> into, std::byte* staged);
  Status send(int peer, std::span<const std::byte> bytes, std::byte* staged);
  Status unpack();

  Channel& channel_;
  const int tag_;
  const Deadline deadline_;
  const char* const operation_;
  std::vector<MPI_Request> requests_;
  std::vector<MPI_Status> statuses_;
  std::vector<Receive> receives_;
};

Status Round::receive(int peer, std::span<std::byte> into, std::byte* staged) {
  receives_.push_back({peer, into, staged, requests_.size()});
  requests_.push_back(MPI_REQUEST_NULL);
  return channel_.check(MPI_Irecv(staged, static_cast<int>(into.size()), MPI_BYTE, peer, tag_,
                                  channel_.communicator(), &requests_.back()),
                        "MPI_Irecv", operation_);
}

Status Round::send(int peer, std::span<const std::byte> bytes, std::byte* staged) {
  std::memcpy(staged, bytes.data(), bytes.size());
  requests_.push_back(MPI_REQUEST_NULL);
  return channel_.check(MPI_Isend(staged, static_cast<int>(bytes.size()), MPI_BYTE, peer, tag_,
                                  channel_.communicator(), &requests_.back()),
                        "MPI_Isend", operation_);
}

Status Round::unpack() {
  for (const Receive& receive : receives_) {
    int got = 0;
    MPI_Get_count(&statuses_[receive.request], MPI_BYTE, &got);
    if (static_cast<std::size_t>(got) != receive.into.size()) {
      return channel_.fail(
          Status::internal(text("rank ", channel_.rank(), ": ", operation_, " over MPI: expected ",
                                receive.into.size(), " bytes from rank ", receive.peer, ", got ", got,
                                ": both ranks must name the same length")),
          operation_);
    }
    std::memcpy(receive.into.data(), receive.staged, receive.into.size());
  }
  return {};
}

Status Round::run(std::span<const Parcel> parcels, std::size_t at, std::size_t bytes) {
  requests_.clear();
  receives_.clear();
  std::size_t needed = 0;
  for (const Parcel& parcel : parcels)
    needed += piece_of(parcel.send, at, bytes).size() + piece_of(parcel.receive, at, bytes).size();
  std::byte* staged = channel_.staging(needed);
  for (const Parcel& parcel : parcels) {
    const auto piece = piece_of(parcel.receive, at, bytes);
    if (piece.empty()) continue;
    HVD_RETURN_IF_ERROR(receive(parcel.peer, piece, staged));
    staged += piece.size();
  }
  for (const Parcel& parcel : parcels) {
    const auto piece = piece_of(parcel.send, at, bytes);
    if (piece.empty()) continue;
    HVD_RETURN_IF_ERROR(send(parcel.peer, piece, staged));
    staged += piece.size();
  }
  HVD_RETURN_IF_ERROR(channel_.wait_all(requests_, &statuses_, deadline_, operation_));
  return unpack();
}

}  // namespace

Status swap_parcels(Channel& channel, std::span<const Parcel> parcels, int tag, Deadline deadline,
                    const char* operation) {
  const std::size_t bytes = piece_bytes(channel.size());
  std::size_t longest = 0;
  for (const Parcel& parcel : parcels)
    longest = std::max({longest, parcel.send.size(), parcel.receive.size()});
  Round round(channel, tag, deadline, operation);
  for (std::size_t at = 0; at < longest; at += bytes) {
    HVD_RETURN_IF_ERROR(round.run(parcels, at, bytes));
  }
  return {};
}

}  // namespace hvd::mpi
