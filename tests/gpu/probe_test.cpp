// A machine without NVIDIA's libraries: the plugin loads and says what is missing. Run without the stand-ins;
// HVD_EXPECT_PROBE names the words that the answer must have.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/gpu/gpu.h"

namespace hvd {
namespace {

TEST(CudaPluginAlone, SaysWhatIsMissingAndWhatToDo) {
  if (std::getenv("HVD_EXPECT_PROBE") == nullptr) GTEST_SKIP() << "ctest sets HVD_EXPECT_PROBE";
  const std::string wanted = std::getenv("HVD_EXPECT_PROBE");
  std::string details;
  const Status status = cuda_plugin().probe(&details);
  if (status.is_ok()) GTEST_SKIP() << "this machine has it all: " << details;
  EXPECT_EQ(status.code(), StatusCode::unavailable);
  EXPECT_NE(status.message().find(wanted), std::string::npos) << status.message();
  EXPECT_EQ(details, "");
}

}  // namespace
}  // namespace hvd
