// What every Transport must do, as checks that each rank runs on its own Transport:
// threads here, processes elsewhere (MPI).
//
// A check is collective: every rank runs the same one, and no rank may begin the next one before all have
// ended this one (joined threads, MPI_Barrier; not the Transport itself, whose wait() is being checked). It
// reports through gtest's EXPECT and ASSERT, and blocks for 30 s at most.
#pragma once

#include <span>

#include "horovod_cpp/ports/transport.h"

namespace hvd {

struct TransportCheck {
  const char* name;
  void (*body)(Transport& transport);
  int least_size = 1;
  // The Transport cannot be used afterwards. Other checks leave it as good as new.
  bool leaves_it_failed = false;
  // Only for transports that carry the news of a rank's abort to the others.
  bool needs_news_of_abort = false;
};

std::span<const TransportCheck> transport_checks();

}  // namespace hvd
