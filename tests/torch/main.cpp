#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

// Ranks are threads here: torch's own threads would only make them wait for cores.
int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  at::set_num_threads(1);
  at::detail::getDefaultCPUGenerator();  // made once, out of ThreadSanitizer's sight
  return RUN_ALL_TESTS();
}
