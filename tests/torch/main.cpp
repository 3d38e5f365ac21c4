#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>

#include "tests/harness/process_case.h"

// Ranks are threads here: torch's own threads would only make them wait for cores.
int main(int argc, char** argv) {
  at::set_num_threads(1);
  at::detail::getDefaultCPUGenerator();  // made once, out of ThreadSanitizer's sight
  return hvd::run_test_program(argc, argv);
}
