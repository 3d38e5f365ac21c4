// Waiting without the GIL, in slices: between them Python's signal handlers run, so that a KeyboardInterrupt is raised within 0.1 s.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <thread>

#include "horovod_cpp/base/deadline.h"

namespace hvd {

// Calls `wait` until it returns true or the deadline has passed; false then. `wait` is called without the GIL, sleeps until its own deadline
// at most, and says whether what it waits for has come. Throws what a signal handler raises; what was waited for goes on.
bool wait_interruptibly(Deadline deadline, const std::function<bool(Deadline slice)>& wait);

// Runs `work`, which cannot be interrupted, on a thread of its own. If a signal handler raises, that is thrown, and the thread ends with
// `work` and its result.
template <class Result>
Result run_interruptibly(std::function<Result()> work) {
  auto task = std::make_shared<std::packaged_task<Result()>>(std::move(work));
  std::future<Result> result = task->get_future();
  std::thread([task] { (*task)(); }).detach();
  wait_interruptibly(Deadline::never(), [&result](Deadline slice) {
    return result.wait_until(slice.when()) == std::future_status::ready;
  });
  return result.get();
}

}  // namespace hvd
