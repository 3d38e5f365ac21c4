#include "tests/gpu/standin/cuda/driver_state.h"

#include <vector>

namespace hvd::standin {
namespace {

thread_local std::vector<CUcontext> context_stack;

}  // namespace

DriverState& state() {
  static auto* const the_state = new DriverState();
  return *the_state;
}

Context* DriverState::find(CUcontext context) {
  for (Context& candidate : contexts) {
    if (reinterpret_cast<CUcontext>(&candidate) == context && candidate.holders > 0) return &candidate;
  }
  return nullptr;
}

std::shared_ptr<Stream> DriverState::find(CUstream stream) {
  if (stream != nullptr) {
    const auto found = streams.find(stream);
    return found == streams.end() ? nullptr : found->second;
  }
  Context* const context = find(current_context());
  if (context == nullptr) return nullptr;
  if (context->default_stream == nullptr) {
    context->default_stream = std::make_shared<Stream>();
    context->default_stream->context = current_context();
  }
  return context->default_stream;
}

std::shared_ptr<Event> DriverState::find(CUevent event) {
  const auto found = events.find(event);
  return found == events.end() ? nullptr : found->second;
}

CUcontext current_context() { return context_stack.empty() ? nullptr : context_stack.back(); }
void push_context(CUcontext context) { context_stack.push_back(context); }
CUcontext pop_context() {
  CUcontext const top = current_context();
  if (!context_stack.empty()) context_stack.pop_back();
  return top;
}

}  // namespace hvd::standin
