#include "ops/host/adasum.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <vector>

#include "ops/host/float_conversion.h"

namespace hvd {
namespace {

// --- arithmetic ---

void to_doubles(DataType dtype, const std::byte* from, std::size_t count, double* to) {
  if (dtype == DataType::float64) {
    if (count != 0) std::memcpy(to, from, count * sizeof(double));
    return;
  }
  constexpr std::size_t kBlock = 256;
  std::array<float, kBlock> wide{};
  auto* const bytes = reinterpret_cast<std::byte*>(wide.data());
  for (std::size_t at = 0; at < count; at += kBlock) {
    const std::size_t length = std::min(kBlock, count - at);
    const std::byte* const begin = from + at * size_in_bytes(dtype);
    if (dtype == DataType::float32) {
      std::memcpy(bytes, begin, length * sizeof(float));
    } else {
      widen(dtype, begin, bytes, length);
    }
    std::copy_n(wide.begin(), length, to + at);
  }
}

void from_doubles(DataType dtype, const double* from, std::size_t count, double scale, std::byte* to) {
  constexpr std::size_t kBlock = 256;
  std::array<float, kBlock> narrowed{};
  for (std::size_t at = 0; at < count; at += kBlock) {
    const std::size_t length = std::min(kBlock, count - at);
    std::byte* const begin = to + at * size_in_bytes(dtype);
    if (dtype == DataType::float64) {
      for (std::size_t i = 0; i < length; ++i) {
        const double value = scale * from[at + i];
        std::memcpy(begin + i * sizeof(double), &value, sizeof(double));
      }
      continue;
    }
    std::transform(from + at, from + at + length, narrowed.begin(),
                   [scale](double value) { return static_cast<float>(scale * value); });
    const auto* const bytes = reinterpret_cast<const std::byte*>(narrowed.data());
    if (dtype == DataType::float32) {
      std::memcpy(begin, bytes, length * sizeof(float));
    } else {
      narrow(dtype, bytes, begin, length);
    }
  }
}

struct Dots {
  double aa = 0.0;
  double ab = 0.0;
  double bb = 0.0;
};

Dots dots_of(const double* a, const double* b, std::size_t count) {
  Dots dots;
  for (std::size_t i = 0; i < count; ++i) {
    dots.aa += a[i] * a[i];
    dots.ab += a[i] * b[i];
    dots.bb += b[i] * b[i];
  }
  return dots;
}

// a becomes the Adasum of a and b.
void combine(double* a, const double* b, std::size_t count, const Dots& dots) {
  const double of_a = dots.aa == 0.0 ? 1.0 : 1.0 - dots.ab / (2.0 * dots.aa);
  const double of_b = dots.bb == 0.0 ? 1.0 : 1.0 - dots.ab / (2.0 * dots.bb);
  for (std::size_t i = 0; i < count; ++i) a[i] = of_a * a[i] + of_b * b[i];
}

// --- which rank computes what ---

// Elements of a tensor of `count` that are rank `rank`'s.
struct Part {
  std::size_t begin;
  std::size_t count;
};

Part part_of(std::size_t count, std::size_t rank, std::size_t ranks) {
  const std::size_t begin = count / ranks * rank + std::min(rank, count % ranks);
  return {begin, count / ranks + (rank < count % ranks ? 1 : 0)};
}

// How many elements of all tensors are each rank's.
std::vector<std::size_t> counts_by_rank(std::span<const TensorSlice> slices, std::size_t ranks) {
  std::vector<std::size_t> counts(ranks);
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    for (const TensorSlice& slice : slices) counts[rank] += part_of(slice.count, rank, ranks).count;
  }
  return counts;
}

// Calls visit(bytes of the tensor, bytes of the array, bytes) for each part; the array has the first rank's parts, then the second's, …
template <class Visit>
void for_each_part(std::span<const TensorSlice> slices, std::size_t ranks, std::size_t element,
                   Visit&& visit) {
  std::size_t at = 0;
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    for (std::size_t tensor = 0; tensor < slices.size(); ++tensor) {
      const Part part = part_of(slices[tensor].count, rank, ranks);
      if (part.count != 0) visit(tensor, part.begin * element, at, part.count * element);
      at += part.count * element;
    }
  }
}

// --- the operation ---

class Adasum final : public Collectives {
 public:
  Adasum(std::unique_ptr<Collectives> inner, int rank, int size)
      : inner_(std::move(inner)),
        rank_(static_cast<std::size_t>(rank)),
        ranks_(static_cast<std::size_t>(size)) {}

  const char* name() const override { return inner_->name(); }
  DeviceType device_type() const override { return inner_->device_type(); }
  bool supports(OpKind kind, DataType dtype, ReduceOp op) const override {
    return op == ReduceOp::adasum ? kind == OpKind::allreduce && is_floating(dtype)
                                  : inner_->supports(kind, dtype, op);
  }

  Result<Completion> allreduce(const AllreduceRequest& request) override {
    if (request.op != ReduceOp::adasum || !is_floating(request.dtype)) return inner_->allreduce(request);
    if (ranks_ > 1) return adasum(request);
    AllreduceRequest alone = request;
    alone.op = ReduceOp::sum;
    return inner_->allreduce(alone);
  }
  Result<Completion> broadcast(const BroadcastRequest& request) override {
    return inner_->broadcast(request);
  }
  Result<Completion> allgather(const AllgatherRequest& request) override {
    return inner_->allgather(request);
  }
  Result<Completion> alltoall(const AlltoallRequest& request) override { return inner_->alltoall(request); }
  Result<Completion> reducescatter(const ReducescatterRequest& request) override {
    return inner_->reducescatter(request);
  }
  Status barrier(Deadline deadline) override { return inner_->barrier(deadline); }

  Result<std::unique_ptr<Collectives>> subgroup(std::span<const int> members, Deadline deadline) override {
    auto group = inner_->subgroup(members, deadline);
    if (!group.is_ok() || *group == nullptr) return group;
    const auto own = std::find(members.begin(), members.end(), static_cast<int>(rank_));
    return with_adasum(std::move(group).value(), static_cast<int>(own - members.begin()),
                       static_cast<int>(members.size()));
  }
  bool may_change_threads() const override { return inner_->may_change_threads(); }
  Result<std::unique_ptr<RegisteredMemory>> share_memory(std::size_t bytes, Deadline deadline) override {
    return inner_->share_memory(bytes, deadline);
  }
  void abort(const Status& why) override { inner_->abort(why); }

 private:
  Result<Completion> adasum(const AllreduceRequest& request) {
    const std::size_t element = size_in_bytes(request.dtype);
    const std::vector<std::size_t> counts = counts_by_rank(request.slices, ranks_);
    const std::size_t own = counts[rank_];
    std::vector<double> values;  // [rank][element of this rank's parts]
    {
      std::vector<std::byte> received(ranks_ * own * element);
      HVD_RETURN_IF_ERROR(exchange(request, counts, received));
      values.resize(ranks_ * own);
      to_doubles(request.dtype, received.data(), ranks_ * own, values.data());
    }
    HVD_RETURN_IF_ERROR(combine_all(request, values));
    return publish(request, counts, values);
  }

  // Every rank gets its part of all ranks' tensors.
  Status exchange(const AllreduceRequest& request, std::span<const std::size_t> counts,
                  std::span<std::byte> received) {
    const std::size_t element = size_in_bytes(request.dtype);
    std::vector<std::byte> sent(std::accumulate(counts.begin(), counts.end(), std::size_t{0}) * element);
    for_each_part(request.slices, ranks_, element,
                  [&](std::size_t tensor, std::size_t begin, std::size_t at, std::size_t bytes) {
                    const auto* const input = static_cast<const std::byte*>(request.slices[tensor].input);
                    std::memcpy(sent.data() + at, input + begin, bytes);
                  });
    const std::vector<std::size_t> of_each(ranks_, counts[rank_]);
    AlltoallRequest alltoall;
    alltoall.input = sent.data();
    alltoall.output = received.data();
    alltoall.send_counts = counts;
    alltoall.receive_counts = of_each;
    alltoall.dtype = request.dtype;
    alltoall.deadline = request.deadline;
    return inner_->alltoall(alltoall).status();
  }

  // Afterwards the first rank's values are the result.
  Status combine_all(const AllreduceRequest& request, std::vector<double>& values) {
    const std::size_t own = values.size() / ranks_;
    for (std::size_t distance = 1; distance < ranks_; distance *= 2) {
      std::vector<Dots> dots;  // [pair][tensor]
      const auto for_each_pair = [&](auto&& visit) {
        std::size_t number = 0;
        for (std::size_t a = 0; a + distance < ranks_; a += 2 * distance) {
          std::size_t at = 0;
          for (const TensorSlice& slice : request.slices) {
            const std::size_t count = part_of(slice.count, rank_, ranks_).count;
            visit(values.data() + a * own + at, values.data() + (a + distance) * own + at, count, number++);
            at += count;
          }
        }
      };
      for_each_pair([&](const double* a, const double* b, std::size_t count, std::size_t) {
        dots.push_back(dots_of(a, b, count));
      });
      const TensorSlice numbers{dots.data(), dots.data(), 3 * dots.size()};
      AllreduceRequest sum;
      sum.slices = std::span(&numbers, 1);
      sum.dtype = DataType::float64;
      sum.deadline = request.deadline;
      HVD_RETURN_IF_ERROR(inner_->allreduce(sum).status());
      for_each_pair([&](double* a, const double* b, std::size_t count, std::size_t number) {
        combine(a, b, count, dots[number]);
      });
    }
    return {};
  }

  Result<Completion> publish(const AllreduceRequest& request, std::span<const std::size_t> counts,
                             const std::vector<double>& values) {
    const std::size_t element = size_in_bytes(request.dtype);
    const auto first = counts.begin();
    const auto own = first + static_cast<std::ptrdiff_t>(rank_);
    std::vector<std::byte> all(std::accumulate(first, counts.end(), std::size_t{0}) * element);
    std::byte* const mine = all.data() + std::accumulate(first, own, std::size_t{0}) * element;
    from_doubles(request.dtype, values.data(), *own, request.scale, mine);
    AllgatherRequest gather;
    gather.input = mine;
    gather.output = all.data();
    gather.counts = counts;
    gather.dtype = request.dtype;
    gather.deadline = request.deadline;
    HVD_RETURN_IF_ERROR(inner_->allgather(gather).status());
    for_each_part(request.slices, ranks_, element,
                  [&](std::size_t tensor, std::size_t begin, std::size_t at, std::size_t bytes) {
                    std::memcpy(static_cast<std::byte*>(request.slices[tensor].output) + begin,
                                all.data() + at, bytes);
                  });
    return Completion{};
  }

  const std::unique_ptr<Collectives> inner_;
  const std::size_t rank_;
  const std::size_t ranks_;
};

}  // namespace

std::unique_ptr<Collectives> with_adasum(std::unique_ptr<Collectives> inner, int rank, int size) {
  return std::make_unique<Adasum>(std::move(inner), rank, size);
}

}  // namespace hvd
