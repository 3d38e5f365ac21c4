#include "launcher/command_line.h"

#include <gtest/gtest.h>

#include "launcher/host_list.h"
#include "launcher/option_hints.h"

namespace hvd::launcher {
namespace {

using Words = std::vector<std::string>;

Result<CommandLine> parse(const Words& arguments) { return parse_command_line(arguments, "box.example.org"); }

// The message with which `arguments` are refused.
std::string refusal(const Words& arguments) {
  const auto line = parse(arguments);
  EXPECT_FALSE(line.is_ok());
  EXPECT_EQ(line.status().message().find('\n'), std::string::npos) << "more than one line";
  return line.status().message();
}

TEST(CommandLine, TakesTheNumberOfRanksInEverySpelling) {
  for (const Words& spelling : {Words{"-np", "3"},
                                {"-np=3"},
                                {"-np3"},
                                {"-n", "3"},
                                {"-n3"},
                                {"--num-proc", "3"},
                                {"--num-proc=3"},
                                {"--np", "3"},
                                {"--np=3"}}) {
    Words arguments = spelling;
    arguments.emplace_back("prog");
    const auto line = parse(arguments);
    ASSERT_TRUE(line.is_ok()) << spelling[0] << ": " << line.status().message();
    EXPECT_EQ(line.value().job.num_proc, 3) << spelling[0];
    EXPECT_EQ(line.value().job.command, Words{"prog"}) << spelling[0];
  }
}

TEST(CommandLine, TakesTheNumberOfRanksThatAreEnough) {
  EXPECT_EQ(parse({"-np", "4", "p"}).value().job.min_num_proc, 0);
  for (const char* option : {"--min-np", "--min-num-proc"}) {
    const auto line = parse({"-np", "4", option, "3", "--elastic-timeout", "2.5", "p"});
    ASSERT_TRUE(line.is_ok()) << line.status().message();
    EXPECT_EQ(line.value().job.min_num_proc, 3);
    EXPECT_EQ(line.value().job.meet_again_patience, std::chrono::milliseconds(2500));
    for (const char* wrong : {"0", "5", "-1", "two"}) {
      EXPECT_NE(refusal({"-np", "4", option, wrong, "p"}).find("from 1 to 4"), std::string::npos) << wrong;
    }
  }
  EXPECT_NE(refusal({"-np", "4", "--elastic-timeout", "-1", "p"}).find("--elastic-timeout"),
            std::string::npos);
}

TEST(CommandLine, LeavesTheProgramsArgumentsAlone) {
  const Words command{"prog", "-np", "7", "-np=8", "-cb", "--verbose", "--", "-H", "x", "", "--no-such"};
  for (const Words& before : {Words{"-np", "2"}, {"-np", "2", "--"}, {"-np", "2", "--verbose"}}) {
    Words arguments = before;
    arguments.insert(arguments.end(), command.begin(), command.end());
    const auto line = parse(arguments);
    ASSERT_TRUE(line.is_ok()) << line.status().message();
    EXPECT_EQ(line.value().job.command, command);
    EXPECT_EQ(line.value().job.num_proc, 2);
  }
  EXPECT_EQ(parse({"-np", "2", "--", "-odd", "x"}).value().job.command, (Words{"-odd", "x"}));
}

TEST(CommandLine, TakesOptions) {
  const auto line = parse({"-np", "2", "-H", "localhost:1,box:1", "--output-filename", "d",
                           "--prefix-output-with-timestamp", "--no-prefix", "--no-bind", "--failure-grace",
                           "0.5", "--kill-grace=3", "--verbose", "p"});
  ASSERT_TRUE(line.is_ok()) << line.status().message();
  const JobOptions& job = line.value().job;
  EXPECT_EQ(job.output_directory, "d");
  EXPECT_TRUE(job.timestamp && job.verbose && !job.prefix && !job.bind);
  EXPECT_EQ(job.failure_grace, std::chrono::milliseconds(500));
  EXPECT_EQ(job.kill_grace, std::chrono::seconds(3));
}

TEST(CommandLine, TurnsKnobsIntoVariables) {
  const auto line = parse({"-np", "1", "--start-timeout", "9", "--fusion-threshold-mb", "2", "--log-level",
                           "debug", "--no-stall-check", "--stall-check-shutdown-time-seconds", "5", "p"});
  ASSERT_TRUE(line.is_ok()) << line.status().message();
  const std::vector<std::pair<std::string, std::string>> expected{{"HVD_START_TIMEOUT", "9"},
                                                                  {"HVD_FUSION_THRESHOLD", "2097152"},
                                                                  {"HVD_STALL_SHUTDOWN_TIME_SECONDS", "5"},
                                                                  {"HVD_LOG_LEVEL", "debug"},
                                                                  {"HVD_STALL_CHECK_DISABLE", "1"}};
  EXPECT_EQ(line.value().job.settings, expected);
}

TEST(CommandLine, RefusesInOneClearLine) {
  EXPECT_EQ(refusal({"-np", "0", "p"}), "-np 0: the number of ranks is a whole number from 1");
  EXPECT_EQ(refusal({"-np", "2x", "p"}), "-np 2x: the number of ranks is a whole number from 1");
  EXPECT_EQ(refusal({"-np", "99999999999999999999", "p"}),
            "-np 99999999999999999999: the number of ranks is a whole number from 1");
  EXPECT_NE(refusal({"-np"}).find("-np needs the number of ranks"), std::string::npos);
  EXPECT_NE(refusal({"p"}).find("-np is missing"), std::string::npos);
  EXPECT_NE(refusal({"-np", "2"}).find("the program is missing"), std::string::npos);
  EXPECT_NE(refusal({"-np", "2", "--"}).find("the program is missing"), std::string::npos);
  EXPECT_NE(refusal({"-np", "2", ""}).find("name is empty"), std::string::npos);
  EXPECT_EQ(refusal({"-np", "2", "--vrebose", "p"}), "there is no option --vrebose; did you mean --verbose?");
  EXPECT_EQ(refusal({"-np", "2", "--qqqqqqqq", "p"}), "there is no option --qqqqqqqq; see hvdrun --help");
  EXPECT_NE(refusal({"-np", "2", "--mca", "x", "p"}).find("mpirun"), std::string::npos);
  EXPECT_NE(refusal({"-np", "2", "--hostfile=x", "-H", "localhost:2", "p"}).find("exclude"),
            std::string::npos);
  EXPECT_NE(refusal({"-np", "2", "--start-timeout", "soon", "p"}).find("--start-timeout soon"),
            std::string::npos);
  EXPECT_NE(refusal({"-np", "2", "--kill-grace", "-1", "p"}).find("--kill-grace"), std::string::npos);
  EXPECT_NE(refusal({"-np", "2", "--kill-grace", "nan", "p"}).find("--kill-grace"), std::string::npos);
}

TEST(CommandLine, AnswersQuestions) {
  EXPECT_EQ(parse({"--version"}).value().action, CommandLine::Action::print);
  EXPECT_EQ(parse({"-cb"}).value().action, CommandLine::Action::check_build);
  const auto help = parse({"--help"});
  ASSERT_TRUE(help.is_ok());
  EXPECT_NE(help.value().message.find("Usage: hvdrun -np N [OPTIONS] PROGRAM"), std::string::npos)
      << help.value().message;
}

TEST(HostList, KnowsThisHost) {
  for (const char* name :
       {"localhost", "localhost:4", "127.0.0.1:2", "127.0.1.1", "[::1]:2", "box:2", "box.example.org"}) {
    const auto hosts = parse_hosts(name);
    ASSERT_TRUE(hosts.is_ok()) << name;
    EXPECT_TRUE(check_hosts(hosts.value(), "box.example.org", 1).is_ok()) << name;
  }
  for (const char* name : {"node1:2", "box.elsewhere.org", "box2"}) {
    const auto hosts = parse_hosts(name);
    ASSERT_TRUE(hosts.is_ok()) << name;
    EXPECT_NE(check_hosts(hosts.value(), "box.example.org", 1).message().find("another host"),
              std::string::npos)
        << name;
  }
}

TEST(HostList, CountsSlots) {
  const auto hosts = parse_hosts("localhost:2,127.0.0.1:3");
  ASSERT_TRUE(hosts.is_ok());
  EXPECT_TRUE(check_hosts(hosts.value(), "box", 5).is_ok());
  EXPECT_EQ(check_hosts(hosts.value(), "box", 6).message(), "-np 6, but --hosts has only 5 slots");
}

TEST(HostList, IsAFileToo) {
  const auto hosts =
      parse_hostfile("# ours\nlocalhost slots=2\n\n  box  slots = 3 # three\n127.0.0.1:1\n::1\n");
  EXPECT_FALSE(hosts.is_ok()) << "an address of IPv6 is in brackets";
  auto good = parse_hostfile("# ours\nlocalhost slots=2\n\n  box  slots = 3 # three\n127.0.0.1:1\n[::1]");
  ASSERT_TRUE(good.is_ok()) << good.status().message();
  ASSERT_EQ(good->size(), 4u);
  EXPECT_EQ(good->at(1).host, "box");
  EXPECT_EQ(good->at(1).slots, 3);
  EXPECT_TRUE(check_hosts(good.value(), "box", 7).is_ok());
  EXPECT_EQ(check_hosts(good.value(), "box", 8, "--hostfile").message(),
            "-np 8, but --hostfile has only 7 slots");
  for (const char* content :
       {"", "# none\n", "a slots=0", "a slots", "a max_slots=2", "a,b", "a:1 slots=2"}) {
    EXPECT_FALSE(parse_hostfile(content).is_ok()) << '"' << content << '"';
  }
}

TEST(HostList, RefusesNonsense) {
  for (const char* list : {"", ",", "a,", "a:", "a:0", "a:x", "a:1x", ":2", "[::1", "[::1]2", "a:-1"}) {
    EXPECT_FALSE(parse_hosts(list).is_ok()) << '"' << list << '"';
  }
}

}  // namespace
}  // namespace hvd::launcher
