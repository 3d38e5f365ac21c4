#include "launcher/signal_name.h"

#include <cstring>

namespace hvd::launcher {

std::string name_of_signal(int signal) {
  const char* const name = sigabbrev_np(signal);
  if (name == nullptr) return "signal " + std::to_string(signal);
  return std::string("SIG") + name + " (" + std::to_string(signal) + ")";
}

}  // namespace hvd::launcher
