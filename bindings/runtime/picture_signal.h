// SIGUSR1 as the question "what are the ranks doing?".
#pragma once

#include <memory>

#include "horovod_cpp/base/unique_fd.h"

namespace hvd {

struct PictureSignal {
  UniqueFd readable;            // an eventfd; closed if the signal is not ours
  std::shared_ptr<void> owner;  // at its end the signal's disposition is again what it was
};

// Takes SIGUSR1 if nobody else has: its disposition is the default, and no other Session of this process has taken it. A forked child that
// gets the signal ignores it.
PictureSignal take_picture_signal();

}  // namespace hvd
