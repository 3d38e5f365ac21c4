#include "horovod_cpp/transport/shm/sealed_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdint>
#include <fstream>
#include <limits>
#include <memory>
#include <string>

#include "horovod_cpp/base/pages.h"
#include "horovod_cpp/base/process_limits.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25  // Linux 6.1
#endif

namespace hvd {
namespace {

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

// What the machine can still give, or no limit if it does not say. Allocating more would not fail but wake
// the out-of-memory killer.
std::size_t available_memory_bytes() {
  std::ifstream meminfo("/proc/meminfo");
  std::string word;
  std::size_t kibibytes = 0;
  while (meminfo >> word) {
    if (word == "MemAvailable:" && meminfo >> kibibytes) return kibibytes * 1024;
  }
  return std::numeric_limits<std::size_t>::max();
}

// Memory of tmpfs comes in small pages, whatever is asked of a mapping, unless the administrator has changed
// /sys/kernel/mm/transparent_hugepage/shmem_enabled. The kernel collapses what lies in one huge page's place into one if any of it is there: a
// fifth of the time that allocating it in small pages takes. What it refuses stays as it is.
void make_huge(const UniqueFd& memory, std::size_t length) {
  const std::size_t whole = length / kHugePageBytes * kHugePageBytes;
  if (whole == 0) return;
  std::byte* const address = map_shared(memory, 0, whole);
  if (address == nullptr) return;
  const auto page = static_cast<off_t>(page_bytes());
  bool is_there = true;
  for (std::size_t at = 0; at < whole && is_there; at += kHugePageBytes)
    is_there = ::posix_fallocate(memory.get(), static_cast<off_t>(at), page) == 0;
  if (is_there) static_cast<void>(::madvise(address, whole, MADV_COLLAPSE));
  unmap_pages(address, whole);
}

}  // namespace

std::pair<UniqueFd, int> create_sealed_memory(std::size_t bytes) {
  const std::size_t length = rounded_to_pages(bytes);
  if (length < bytes || length > available_memory_bytes()) return {UniqueFd(), ENOMEM};
  if (length > file_size_limit_bytes()) return {UniqueFd(), EFBIG};
  UniqueFd memory(::memfd_create("horovod_cpp", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory.is_open()) return {UniqueFd(), errno};
  // A signal would have the kernel give back what it has allocated.
  const SignalsBlocked uninterrupted;
  if (::ftruncate(memory.get(), static_cast<off_t>(length)) != 0) return {UniqueFd(), errno};
  make_huge(memory, length);
  const int error_number = ::posix_fallocate(memory.get(), 0, static_cast<off_t>(length));
  if (error_number != 0) return {UniqueFd(), error_number};
  if (::fcntl(memory.get(), F_ADD_SEALS, kSeals) != 0) return {UniqueFd(), errno};
  return {std::move(memory), 0};
}

Result<MappedMemory> map_sealed_memory(const UniqueFd& memory, std::size_t bytes) {
  const std::size_t length = rounded_to_pages(bytes);
  struct stat facts{};
  if (::fstat(memory.get(), &facts) != 0 || length < bytes ||
      static_cast<std::uint64_t>(facts.st_size) < length ||
      (::fcntl(memory.get(), F_GET_SEALS) & kSeals) != kSeals) {
    return Status::internal("the memory is smaller than announced, or not sealed");
  }
  std::byte* const address = map_shared(memory, 0, length);
  if (address == nullptr) return Status::unavailable("cannot map the memory: " + error_text(errno));
  MappedMemory mapped;
  mapped.data = address;
  mapped.size_bytes = bytes;
  mapped.mapping = std::shared_ptr<void>(
      address, [length](void* start) { unmap_pages(static_cast<std::byte*>(start), length); });
  return mapped;
}

}  // namespace hvd
