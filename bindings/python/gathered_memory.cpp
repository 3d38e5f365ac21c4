#include "bindings/python/gathered_memory.h"

#include <algorithm>
#include <new>

namespace hvd {
namespace {

constexpr std::align_val_t kAlignment{64};

}  // namespace

void GatheredMemory::Free::operator()(void* memory) const { ::operator delete(memory, kAlignment); }

void* GatheredMemory::allocate(std::size_t bytes) {
  memory_.reset(::operator new(std::max<std::size_t>(bytes, 1), kAlignment));
  bytes_ = bytes;
  return memory_.get();
}

}  // namespace hvd
