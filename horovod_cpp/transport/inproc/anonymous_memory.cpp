#include "horovod_cpp/transport/inproc/anonymous_memory.h"

#include <memory>

#include "horovod_cpp/base/process_limits.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/transport/shm/sealed_memory.h"

namespace hvd {

Result<MappedMemory> map_anonymous_memory(std::size_t bytes) {
  auto [memory, error_number] = create_sealed_memory(bytes);
  if (error_number != 0)
    return Status::unavailable(text("cannot allocate ", bytes, " bytes: ", error_text(error_number)));
  const auto file = std::make_shared<const UniqueFd>(std::move(memory));
  auto mapped = map_sealed_memory(*file, bytes);
  if (mapped.is_ok()) mapped.value().file = file;
  return mapped;
}

}  // namespace hvd
