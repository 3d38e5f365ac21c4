// One rank's tensors of a collective operation, in the memory of the backend under test. Private to the collectives suite.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <vector>

#include "horovod_cpp/base/deadline.h"
#include "horovod_cpp/base/wire.h"
#include "horovod_cpp/ports/collectives.h"
#include "tests/conformance/collectives_suite.h"

namespace hvd {

// Long enough for the slowest machine; only a bug ever waits for it.
inline Deadline patience() { return Deadline::after(std::chrono::seconds(120)); }

inline Status finish(Result<Completion> result) {
  if (!result.is_ok()) return result.status();
  if (*result == nullptr) return {};
  return (*result)->synchronize(patience());
}

enum class Place { in_place, out_of_place };

// One rank's tensors of one operation. Values are those of the concatenation of all slices.
class Tensors {
 public:
  Tensors(SuiteMemory& memory, DataType dtype, const std::vector<std::size_t>& counts, Place place,
          const Bytes& values)
      : memory_(memory), width_(size_in_bytes(dtype)) {
    std::size_t at = 0;
    for (const std::size_t count : counts) {
      const std::size_t bytes = count * width_;
      const auto input = keep(memory.allocate(bytes));
      const auto output = place == Place::in_place ? input : keep(memory.allocate(bytes));
      memory.write(input, values.data() + at, bytes);
      slices_.push_back({input, output, count});
      at += bytes;
    }
  }

  std::span<const TensorSlice> slices() const { return slices_; }
  Bytes inputs() const { return gather(&TensorSlice::input); }
  Bytes outputs() const { return gather(&TensorSlice::output); }

 private:
  void* keep(std::shared_ptr<void> memory) {
    kept_.push_back(std::move(memory));
    return kept_.back().get();
  }
  template <class Pointer>
  Bytes gather(Pointer member) const {
    Bytes all;
    for (const TensorSlice& slice : slices_) {
      const std::size_t at = all.size();
      all.resize(at + slice.count * width_);
      memory_.read(all.data() + at, slice.*member, slice.count * width_);
    }
    return all;
  }

  SuiteMemory& memory_;
  std::size_t width_;
  std::vector<std::shared_ptr<void>> kept_;
  std::vector<TensorSlice> slices_;
};

// Memory of one tensor, with a strip behind it that nobody may write to.
class Buffer {
 public:
  // Filled with what is no result of anything.
  Buffer(SuiteMemory& memory, std::size_t bytes)
      : memory_(memory), bytes_(bytes), data_(memory.allocate(bytes + kStripBytes)) {
    const Bytes garbage(bytes + kStripBytes, kGarbage);
    memory_.write(data_.get(), garbage.data(), garbage.size());
  }
  Buffer(SuiteMemory& memory, const Bytes& values) : Buffer(memory, values.size()) { write(0, values); }

  std::byte* data() const { return static_cast<std::byte*>(data_.get()); }
  void write(std::size_t at, const Bytes& values) const {
    memory_.write(data() + at, values.data(), values.size());
  }
  Bytes read() const { return read(0, bytes_); }
  bool end_is_untouched() const { return read(bytes_, kStripBytes) == Bytes(kStripBytes, kGarbage); }

 private:
  static constexpr std::size_t kStripBytes = 64;
  static constexpr std::byte kGarbage{0xa5};

  Bytes read(std::size_t at, std::size_t bytes) const {
    Bytes values(bytes);
    memory_.read(values.data(), data() + at, bytes);
    return values;
  }

  SuiteMemory& memory_;
  std::size_t bytes_;
  std::shared_ptr<void> data_;
};

}  // namespace hvd
