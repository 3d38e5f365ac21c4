// What a rank is told when its place in the job is told wrongly.
#include "bindings/runtime/launch_environment.h"

#include <gtest/gtest.h>

#include <map>

namespace hvd {
namespace {

using Variables = std::map<std::string, std::string>;

std::string refusal(const Variables& variables) {
  const auto read = read_launch_environment([&](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  });
  return read.status().message();
}

// A rank 0 of 2 as hvdrun starts it, with changes.
std::string refusal_with(const Variables& changes) {
  Variables variables{
      {"HVD_RANK", "0"}, {"HVD_SIZE", "2"}, {"HVD_RENDEZVOUS", "h:1"}, {"HVD_JOB_KEY_FD", "64"}};
  for (const auto& [name, value] : changes) {
    variables.erase(name);
    if (!value.empty()) variables[name] = value;
  }
  return refusal(variables);
}

void expect_words(const std::string& message, const std::string& words) {
  EXPECT_NE(message.find(words), std::string::npos) << message;
}

TEST(LaunchEnvironment, IsFineAsHvdrunSetsItAndWithout) {
  EXPECT_EQ(refusal_with({}), "");
  EXPECT_EQ(refusal({}), "");
  EXPECT_EQ(refusal({{"HVD_RANK", "0"}, {"HVD_SIZE", "1"}}), "");
}

TEST(LaunchEnvironment, ARankWithoutASizeIsNotTakenForOneAlone) {
  const std::string words =
      "HVD_RANK is set, but HVD_SIZE is not: start the program with hvdrun, set all of ";
  expect_words(refusal_with({{"HVD_SIZE", ""}}), words);
  expect_words(refusal({{"HOROVOD_RANK", "3"}}), words);
}

TEST(LaunchEnvironment, ASizeWithoutARankIsTold) {
  expect_words(refusal_with({{"HVD_RANK", ""}}),
               "HVD_SIZE is set, but HVD_RANK is not: start the program with hvdrun");
}

TEST(LaunchEnvironment, ARankMustBeOneOfThem) {
  expect_words(refusal_with({{"HVD_RANK", "2"}}), "HVD_RANK='2': expected a whole number from 0 to 1");
  expect_words(refusal_with({{"HVD_RANK", "-1"}}), "HVD_RANK='-1': expected a whole number from 0 to 1");
  expect_words(refusal_with({{"HVD_RANK", "one"}}), "HVD_RANK='one': expected a whole number from 0 to 1");
  expect_words(refusal_with({{"HVD_SIZE", "0"}}), "HVD_SIZE='0': expected a whole number from 1 to ");
  expect_words(refusal_with({{"HVD_LOCAL_SIZE", "3"}}),
               "HVD_LOCAL_SIZE='3': expected a whole number from 1 to 2");
}

TEST(LaunchEnvironment, RanksNeedAPlaceToMeetAndAKey) {
  expect_words(refusal_with({{"HVD_RENDEZVOUS", ""}}),
               "rank 0 of 2: HVD_RENDEZVOUS is not set, so the ranks cannot find each other; start the "
               "program with hvdrun");
  expect_words(refusal_with({{"HVD_JOB_KEY_FD", ""}}),
               "rank 0 of 2: HVD_JOB_KEY_FD (or HVD_JOB_KEY_FILE) is not set");
  expect_words(refusal_with({{"HVD_JOB_KEY_FD", ""}, {"HVD_JOB_KEY", "secret"}}),
               "HVD_JOB_KEY is not read, because others may read the environment");
}

}  // namespace
}  // namespace hvd
