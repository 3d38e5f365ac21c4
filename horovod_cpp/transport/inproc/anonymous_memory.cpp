#include "horovod_cpp/transport/inproc/anonymous_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "horovod_cpp/base/text.h"

namespace hvd {

Result<MappedMemory> map_anonymous_memory(std::size_t bytes) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t length = std::max(page, (bytes + page - 1) / page * page);
  if (length < bytes) return Status::unavailable(text("cannot allocate ", bytes, " bytes: too many"));
  void* address = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) {
    return Status::unavailable(text("cannot allocate ", bytes, " bytes: ", std::strerror(errno)));
  }
  MappedMemory memory;
  memory.data = static_cast<std::byte*>(address);
  memory.size_bytes = bytes;
  memory.mapping = std::shared_ptr<void>(address, [length](void* start) { ::munmap(start, length); });
  return memory;
}

}  // namespace hvd
