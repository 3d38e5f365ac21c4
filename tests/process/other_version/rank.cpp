// A rank that does nothing but come: it loads libhorovod_cpp.so as users' programs do, and so whichever one its environment names first.
#include <chrono>
#include <cstdio>

#include "horovod_cpp/world.h"

int main() {
  auto session = hvd::open_session();
  if (!session.is_ok()) {
    std::fprintf(stderr, "told: %s\n", session.status().message().c_str());
    return 1;
  }
  std::printf("met\n");
  return (*session)->shutdown(hvd::Deadline::after(std::chrono::minutes(1))).is_ok() ? 0 : 1;
}
