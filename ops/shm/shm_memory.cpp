#include "ops/shm/shm_memory.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "ops/host/reduce.h"
#include "ops/host/sum_of_squares.h"

namespace hvd {
namespace {

// What is read from all, added and written to all before the next: small enough that the copies behind the first two come from the
// innermost cache of every processor. The same everywhere: the sum of squares is that of blocks, and ranks must come to the same bits.
constexpr std::size_t kBlockBytes = std::size_t{16} << 10U;

// So many pointers need no memory from the heap.
constexpr std::size_t kFew = 64;

class ShmMemory final : public RegisteredMemory {
 public:
  ShmMemory(int member, std::vector<MappedMemory> memory) : member_(member), memory_(std::move(memory)) {}

  int member() const override { return member_; }
  std::span<const MappedMemory> of_members() const override { return memory_; }

  double reduce(const RegisteredRange& range, ReduceOp op, double scale, bool wants_squares) const override {
    const std::size_t element = size_in_bytes(range.dtype);
    std::array<const std::byte*, kFew> few{};
    std::vector<const std::byte*> many(memory_.size() > kFew ? memory_.size() : 0);
    const std::span inputs(many.empty() ? few.data() : many.data(), memory_.size());
    double squares = 0.0;
    for_each_block(range, [&](std::size_t at, std::size_t count) {
      std::transform(memory_.begin(), memory_.end(), inputs.begin(),
                     [at](const MappedMemory& memory) { return memory.data + at; });
      std::byte* const output = memory_.front().data + at;
      std::byte* const second_output = memory_.size() > 1 ? memory_[1].data + at : nullptr;
      hvd::reduce(kernels_, {inputs, output, second_output, count, range.dtype, op, scale});
      for (std::size_t m = 2; m < memory_.size(); ++m) {
        std::memcpy(memory_[m].data + at, output, count * element);
      }
      if (wants_squares) squares += hvd::sum_of_squares(output, count, range.dtype);
    });
    return squares;
  }

  double sum_of_squares(const RegisteredRange& range) const override {
    const std::byte* const own = memory_[static_cast<std::size_t>(member_)].data;
    double squares = 0.0;
    for_each_block(range, [&](std::size_t at, std::size_t count) {
      squares += hvd::sum_of_squares(own + at, count, range.dtype);
    });
    return squares;
  }

 private:
  // act(offset in bytes, elements)
  template <class Act>
  static void for_each_block(const RegisteredRange& range, Act&& act) {
    const std::size_t element = size_in_bytes(range.dtype);
    const std::size_t block = kBlockBytes / element;
    for (std::size_t i = 0; i < range.count; i += block) {
      act(range.begin_bytes + i * element, std::min(block, range.count - i));
    }
  }

  const int member_;
  const std::vector<MappedMemory> memory_;
  const ReduceKernels& kernels_ = fastest_reduce_kernels();
};

}  // namespace

std::unique_ptr<RegisteredMemory> make_shm_memory(int member, std::vector<MappedMemory> memory) {
  return std::make_unique<ShmMemory>(member, std::move(memory));
}

}  // namespace hvd
