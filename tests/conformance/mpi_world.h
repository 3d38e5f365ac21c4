// What a case under mpirun works with: this process is one rank. Opened once by mpi_main.cpp, through the
// real plugin, loaded as production loads it (the program itself does not link MPI).
//
// Every rank runs the same cases in the same order. A rank that fails leaves the others to their deadlines.
#pragma once

#include <chrono>
#include <memory>

#include "horovod_cpp/ports/plugin.h"

namespace hvd {

struct MpiWorld {
  const PluginTable* plugin = nullptr;
  std::unique_ptr<Transport> transport;
  std::unique_ptr<Collectives> collectives;

  int rank() const { return transport->rank(); }
  int size() const { return transport->size(); }
};

MpiWorld& mpi_world();

// Long enough for the slowest machine; ends a case whose peers have failed.
inline Deadline case_deadline() { return Deadline::after(std::chrono::seconds(60)); }

}  // namespace hvd
