// Misspelt and foreign settings are told.
#include "horovod_cpp/base/known_settings.h"

#include <gtest/gtest.h>

namespace hvd {
namespace {

using Lines = std::vector<std::string>;

TEST(KnownSettings, AreSilentlyAccepted) {
  EXPECT_EQ(remarks_on_settings({"HVD_FUSION_THRESHOLD", "HOROVOD_FUSION_THRESHOLD", "HVD_RANK",
                                 "HOROVOD_STALL_CHECK_TIME_SECONDS", "HVD_TEST_ROUNDS", "PATH",
                                 "OMP_NUM_THREADS", "HVDRUN_COLOUR"}),
            Lines{});
}

TEST(KnownSettings, TheNearestIsSuggested) {
  EXPECT_EQ(
      remarks_on_settings({"HVD_FUSION_TRESHOLD"}),
      Lines{"HVD_FUSION_TRESHOLD is not a setting and has no effect; did you mean HVD_FUSION_THRESHOLD?"});
  EXPECT_EQ(remarks_on_settings({"HOROVOD_LOGLEVEL"}),
            Lines{"HOROVOD_LOGLEVEL is not a setting and has no effect; did you mean HOROVOD_LOG_LEVEL?"});
  EXPECT_EQ(remarks_on_settings({"HVD_COFFEE_WITH_MILK"}),
            Lines{"HVD_COFFEE_WITH_MILK is not a setting and has no effect"});
}

TEST(KnownSettings, OfHorovodThatDoNothingAreExplained) {
  for (const char* name : {"CYCLE_TIME",
                           "CACHE_CAPACITY",
                           "HIERARCHICAL_ALLREDUCE",
                           "TORUS_ALLREDUCE",
                           "BATCH_D2D_MEMCOPIES",
                           "NUM_NCCL_STREAMS",
                           "DISABLE_GROUP_FUSION",
                           "ENABLE_ASYNC_COMPLETION",
                           "THREAD_AFFINITY",
                           "ADASUM_MPI_CHUNK_SIZE",
                           "AUTOTUNE",
                           "AUTOTUNE_LOG",
                           "AUTOTUNE_WARMUP_SAMPLES",
                           "LOG_HIDE_TIME",
                           "DISABLE_NVTX_RANGES",
                           "CONTROLLER",
                           "MPI_THREADS_DISABLE",
                           "DYNAMIC_PROCESS_SETS",
                           "ELASTIC",
                           "ELASTIC_TIMEOUT",
                           "GLOO_TIMEOUT_SECONDS",
                           "HOSTNAME"}) {
    const auto remarks = remarks_on_settings({std::string("HOROVOD_") + name});
    ASSERT_EQ(remarks.size(), 1U) << name;
    EXPECT_TRUE(remarks[0].starts_with(std::string("HOROVOD_") + name + " has no effect: ")) << remarks[0];
  }
}

TEST(KnownSettings, EditDistanceCountsSwapsOnce) {
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("abc", "acb"), 1);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
}

}  // namespace
}  // namespace hvd
