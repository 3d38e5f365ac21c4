// RegisteredMemory over memory that the ranks of one host map. Private to ops/shm.
#pragma once

#include <memory>
#include <vector>

#include "horovod_cpp/ports/registered_memory.h"

namespace hvd {

// memory[m] is member m's.
std::unique_ptr<RegisteredMemory> make_shm_memory(int member, std::vector<MappedMemory> memory);

}  // namespace hvd
