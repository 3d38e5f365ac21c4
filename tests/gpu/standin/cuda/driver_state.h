// What the stand-in of the CUDA driver holds: devices' contexts, streams, events, memory. Handles that were
// never given out or were destroyed are refused, as are calls without a current context.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "ops/cuda/nvidia_headers.h"
#include "tests/gpu/standin/cuda/stream_queue.h"

namespace hvd::standin {

inline constexpr int kDevices = 8;

struct Stream {
  StreamQueue queue;
  CUcontext context = nullptr;
  int priority = 0;
};

struct Event {
  CUcontext context = nullptr;
  std::shared_ptr<Point> last_record;  // nullptr: never recorded
};

struct Context {
  int device = 0;
  int holders = 0;
  std::shared_ptr<Stream> default_stream;
};

// Everything below is guarded by `mutex`.
struct DriverState {
  std::mutex mutex;
  bool is_initialized = false;
  std::array<Context, kDevices> contexts;
  std::unordered_map<CUstream, std::shared_ptr<Stream>> streams;
  std::unordered_map<CUevent, std::shared_ptr<Event>> events;
  std::unordered_map<CUdeviceptr, CUcontext> memory;

  Context* find(CUcontext context);               // nullptr unless it is held
  std::shared_ptr<Stream> find(CUstream stream);  // the null stream needs a current context
  std::shared_ptr<Event> find(CUevent event);
};

// Never destroyed: stream threads may outlast main.
DriverState& state();

// Of the calling thread; nullptr without one.
CUcontext current_context();
void push_context(CUcontext context);
CUcontext pop_context();

}  // namespace hvd::standin
