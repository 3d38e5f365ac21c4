#include "bindings/python/release_queue.h"

#include <atomic>

namespace hvd {
namespace {

struct Kept {
  PyObject* object;
  Kept* next = nullptr;
};

// The objects are the interpreter's, so is the list. What comes after the interpreter has ended stays in it.
std::atomic<Kept*> released{nullptr};  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

void release(Kept* kept) {
  kept->next = released.load(std::memory_order_relaxed);
  while (!released.compare_exchange_weak(kept->next, kept, std::memory_order_release,
                                         std::memory_order_relaxed)) {
  }
}

}  // namespace

std::shared_ptr<void> keep_until_released(const pybind11::object& object) {
  if (object.is_none()) return nullptr;
  auto kept = std::make_unique<Kept>();
  kept->object = object.inc_ref().ptr();
  return {kept.release(), release};
}

void drop_released_objects() {
  if (released.load(std::memory_order_relaxed) == nullptr) return;
  Kept* kept = released.exchange(nullptr, std::memory_order_acquire);
  while (kept != nullptr) {
    const std::unique_ptr<Kept> owner(kept);
    kept = kept->next;
    Py_DECREF(owner->object);
  }
}

}  // namespace hvd
