// Gathered memory: the result of an allgather or alltoall. Its size is known only when the ranks have agreed, on a thread that must not enter
// Python, so it is ordinary memory that arrays are put on afterwards, by the buffer protocol.
// Threading: allocate() on the coordinator's thread, before the operation is done; the rest afterwards.
#pragma once

#include <cstddef>
#include <memory>

namespace hvd {

class GatheredMemory {
 public:
  // Contents are unspecified. Throws std::bad_alloc.
  void* allocate(std::size_t bytes);
  void* data() const { return memory_.get(); }  // nullptr before allocate()
  std::size_t size_in_bytes() const { return bytes_; }

 private:
  struct Free {
    void operator()(void* memory) const;
  };
  std::unique_ptr<void, Free> memory_;
  std::size_t bytes_ = 0;
};

}  // namespace hvd
