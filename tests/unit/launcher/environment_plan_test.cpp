#include "launcher/environment_plan.h"

#include <gtest/gtest.h>

#include <map>

namespace hvd::launcher {
namespace {

std::map<std::string, std::string> as_map(const std::vector<std::string>& environment) {
  std::map<std::string, std::string> map;
  for (const auto& entry : environment) {
    const auto name = entry.substr(0, entry.find('='));
    EXPECT_FALSE(map.contains(name)) << name << " occurs twice";
    map[name] = entry.substr(name.size() + 1);
  }
  return map;
}

TEST(EnvironmentPlan, TellsARankWhereItIs) {
  const JobEnvironment job{4, "127.0.0.1:4000", 77, 2, {{"HVD_START_TIMEOUT", "7"}}};
  const auto variables = as_map(environment_of_rank({"HOME=/root"}, job, 3));
  for (const std::string prefix : {"HVD_", "HOROVOD_"}) {
    EXPECT_EQ(variables.at(prefix + "RANK"), "3");
    EXPECT_EQ(variables.at(prefix + "SIZE"), "4");
    EXPECT_EQ(variables.at(prefix + "LOCAL_RANK"), "3");
    EXPECT_EQ(variables.at(prefix + "LOCAL_SIZE"), "4");
    EXPECT_EQ(variables.at(prefix + "CROSS_RANK"), "0");
    EXPECT_EQ(variables.at(prefix + "CROSS_SIZE"), "1");
  }
  EXPECT_EQ(variables.at("HVD_RENDEZVOUS"), "127.0.0.1:4000");
  EXPECT_EQ(variables.at("HVD_JOB_KEY_FD"), "77");
  EXPECT_EQ(variables.at("HVD_START_TIMEOUT"), "7");
  EXPECT_EQ(variables.at("OMP_NUM_THREADS"), "2");
  EXPECT_EQ(variables.at("PYTHONUNBUFFERED"), "1");
  EXPECT_EQ(variables.at("HOME"), "/root");
}

TEST(EnvironmentPlan, ReplacesWhatAJobAroundItHasSet) {
  const auto variables = as_map(environment_of_rank(
      {"HVD_RANK=9", "HVD_RANK=8", "HOROVOD_SIZE=9", "A=b=c", "HVD_JOB_KEY=k", "HVD_JOB_KEY_FILE=f"},
      {2, "x:1", 77, {}, {}}, 1));
  EXPECT_EQ(variables.at("HVD_RANK"), "1");
  EXPECT_EQ(variables.at("HOROVOD_SIZE"), "2");
  EXPECT_EQ(variables.at("A"), "b=c");
  EXPECT_FALSE(variables.contains("HVD_JOB_KEY"));
  EXPECT_FALSE(variables.contains("HVD_JOB_KEY_FILE"));
}

TEST(EnvironmentPlan, LeavesTheUsersSettingsAlone) {
  const auto variables =
      as_map(environment_of_rank({"OMP_NUM_THREADS=5", "PYTHONUNBUFFERED="}, {2, "x:1", 77, {}, {}}, 0));
  EXPECT_EQ(variables.at("OMP_NUM_THREADS"), "5");
  EXPECT_EQ(variables.at("PYTHONUNBUFFERED"), "");
}

}  // namespace
}  // namespace hvd::launcher
