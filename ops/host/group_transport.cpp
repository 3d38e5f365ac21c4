#include "ops/host/group_transport.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "horovod_cpp/base/abort_latch.h"

namespace hvd {
namespace {

class GroupTransport final : public Transport {
 public:
  GroupTransport(Transport& whole, std::span<const int> members)
      : whole_(whole),
        members_(members.begin(), members.end()),
        rank_(static_cast<int>(std::find(members.begin(), members.end(), whole.rank()) - members.begin())) {}

  const char* name() const override { return whole_.name(); }
  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(members_.size()); }
  bool may_change_threads() const override { return whole_.may_change_threads(); }

  Status exchange(int to, std::span<const std::byte> send, int from, std::span<std::byte> receive,
                  Deadline deadline) override {
    // In this order, and the other way round in abort: either this sees the latch or abort sees the call.
    is_under_way_ = true;
    Status status = latch_.status();
    if (status.is_ok()) status = whole_.exchange(of_whole(to), send, of_whole(from), receive, deadline);
    is_under_way_ = false;
    if (!status.is_ok()) latch_.set(status);
    return latch_.status();
  }

  // Lengths go around first, then what there is.
  Status all_gather(std::span<const std::byte> mine, std::vector<Bytes>& all, Deadline deadline) override {
    HVD_RETURN_IF_ERROR(latch_.status());
    const auto own = static_cast<std::size_t>(rank_);
    std::vector<std::uint64_t> lengths(members_.size(), 0);
    lengths[own] = mine.size();
    HVD_RETURN_IF_ERROR(pass_around(
        [&](std::size_t rank) { return std::as_writable_bytes(std::span(&lengths[rank], 1)); }, deadline));
    std::vector<Bytes> gathered(members_.size());
    for (std::size_t rank = 0; rank < members_.size(); ++rank) gathered[rank].resize(lengths[rank]);
    std::copy(mine.begin(), mine.end(), gathered[own].begin());
    HVD_RETURN_IF_ERROR(pass_around([&](std::size_t rank) { return std::span(gathered[rank]); }, deadline));
    all = std::move(gathered);
    return {};
  }

  Result<bool> wait(Deadline) override {
    return Status::unimplemented("nobody waits for the ranks of a subgroup");
  }
  void notify() override {}

  void abort(const Status& why) override {
    latch_.set(why);
    if (is_under_way_) whole_.abort(why);
  }

 private:
  int of_whole(int rank) const { return members_[static_cast<std::size_t>(rank)]; }

  // part(r) is memory for rank r's bytes; this rank's are there. Afterwards all are.
  template <class Part>
  Status pass_around(Part&& part, Deadline deadline) {
    const std::size_t size = members_.size(), own = static_cast<std::size_t>(rank_);
    for (std::size_t step = 0; step + 1 < size; ++step) {
      HVD_RETURN_IF_ERROR(exchange(static_cast<int>((own + 1) % size), part((own + size - step) % size),
                                   static_cast<int>((own + size - 1) % size),
                                   part((own + size - step - 1) % size), deadline));
    }
    return {};
  }

  Transport& whole_;
  const std::vector<int> members_;
  const int rank_;
  AbortLatch latch_;
  std::atomic<bool> is_under_way_{false};
};

}  // namespace

std::unique_ptr<Transport> make_group_transport(Transport& whole, std::span<const int> members) {
  return std::make_unique<GroupTransport>(whole, members);
}

}  // namespace hvd
