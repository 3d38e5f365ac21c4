#include "launcher/horovodrun_options.h"

#include <gtest/gtest.h>

#include "launcher/command_line.h"

namespace hvd::launcher {
namespace {

using Words = std::vector<std::string>;

Words remarks_on(const Words& options) {
  Words arguments{"-np", "2"};
  arguments.insert(arguments.end(), options.begin(), options.end());
  arguments.insert(arguments.end(), {"prog", "--autotune", "-p"});
  auto line = parse_command_line(arguments, "box");
  EXPECT_TRUE(line.is_ok()) << testing::PrintToString(options) << ": " << line.status().message();
  if (!line.is_ok()) return {};
  EXPECT_EQ(line->job.command, (Words{"prog", "--autotune", "-p"})) << testing::PrintToString(options);
  return line->remarks;
}

Words names_of(const HorovodrunOption& option) {
  Words names{""};
  for (const char* letter = option.names; *letter != '\0'; ++letter) {
    if (*letter == ',') {
      names.emplace_back();
    } else {
      names.back() += *letter;
    }
  }
  return names;
}

TEST(HorovodrunOptions, AreAcceptedUnderAllTheirNames) {
  for (const HorovodrunOption& option : horovodrun_options()) {
    const std::string remark = remark_on(option);
    EXPECT_EQ(remark.find('\n'), std::string::npos) << remark;
    for (const std::string& name : names_of(option)) {
      Words given{name};
      for (int i = 0; i < option.values; ++i) given.push_back(std::to_string(i + 1));
      EXPECT_EQ(remarks_on(given), remark.empty() ? Words{} : Words{remark}) << name;
      if (option.values != 1 || !name.starts_with("--")) continue;
      EXPECT_EQ(remarks_on({name + "=-x A=1 --mca b c"}).size(), 1u) << name;
    }
  }
}

TEST(HorovodrunOptions, SayWhatTakesTheirPlace) {
  EXPECT_EQ(
      remarks_on({"--mpi", "--gloo", "--no-autotune"}),
      Words{"--mpi has no effect: hvdrun starts the ranks itself; to run over MPI start the program with "
            "mpirun instead of hvdrun"});
  EXPECT_EQ(remarks_on({"-p", "2222"}).front().substr(0, 26), "--ssh-port has no effect: ");
  EXPECT_EQ(remarks_on({"--max-np=4", "--slots", "2"}).size(), 2u);
}

// All that horovodrun has, as shared/HOROVOD.md lists it and horovodrun --help groups it.
TEST(HorovodrunOptions, AreAllOfThem) {
  const Words options[] = {{"-H", "localhost:2"},
                           {"--hosts", "localhost:2"},
                           {"--hostfile", "f"},
                           {"-hostfile", "f"},
                           {"-p", "1"},
                           {"-i", "f"},
                           {"--network-interfaces", "eth0,lo"},
                           {"--start-timeout", "3"},
                           {"--output-filename", "d"},
                           {"--prefix-output-with-timestamp"},
                           {"--config-file", "f"},
                           {"--disable-cache"},
                           {"--verbose"},
                           {"--mpi"},
                           {"--gloo"},
                           {"--jsrun"},
                           {"--mpi-args=-x A"},
                           {"--binding-args=-bind x"},
                           {"--tcp"},
                           {"--fusion-threshold-mb", "32"},
                           {"--cycle-time-ms", "0.5"},
                           {"--cache-capacity", "2048"},
                           {"--hierarchical-allreduce"},
                           {"--no-hierarchical-allreduce"},
                           {"--hierarchical-allgather"},
                           {"--no-hierarchical-allgather"},
                           {"--autotune"},
                           {"--no-autotune"},
                           {"--autotune-log-file", "f"},
                           {"--autotune-warmup-samples", "3"},
                           {"--autotune-steps-per-sample", "10"},
                           {"--autotune-bayes-opt-max-samples", "20"},
                           {"--autotune-gaussian-process-noise", "0.8"},
                           {"--min-np", "1"},
                           {"--max-np", "4"},
                           {"--slots-per-host", "2"},
                           {"--host-discovery-script", "./hosts.sh"},
                           {"--elastic-timeout", "600"},
                           {"--reset-limit", "3"},
                           {"--blacklist-cooldown-range", "5", "100"},
                           {"--timeline-filename", "f"},
                           {"--timeline-mark-cycles"},
                           {"--stall-check"},
                           {"--no-stall-check"},
                           {"--stall-check-warning-time-seconds", "60"},
                           {"--stall-check-shutdown-time-seconds", "0"},
                           {"--log-level", "INFO"}};
  for (const Words& option : options) remarks_on(option);
  for (const char* question : {"-cb", "--check-build", "-v", "--version"}) {
    EXPECT_TRUE(parse_command_line({question}, "box").is_ok()) << question;
  }
}

}  // namespace
}  // namespace hvd::launcher
