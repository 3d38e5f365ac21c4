#include "launcher/command_line.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <optional>

#include "horovod_cpp/base/text.h"
#include "launcher/horovodrun_options.h"
#include "launcher/host_list.h"
#include "launcher/option_hints.h"

namespace hvd::launcher {
namespace {

// Options that are variables of the ranks. `scale`: the variable's unit in the option's.
struct Setting {
  const char* option;
  const char* variable;
  const char* help;
  long long scale;  // 0: text, passed on as it is
};
constexpr Setting kSettings[] = {
    {"--start-timeout", "HVD_START_TIMEOUT", "Seconds that ranks wait for each other when they start [30]",
     1},
    {"--fusion-threshold-mb", "HVD_FUSION_THRESHOLD", "Most MiB that one all-reduce moves at once [128]",
     1 << 20},
    {"--stall-check-warning-time-seconds", "HVD_STALL_CHECK_TIME_SECONDS",
     "Report a tensor that some ranks have not submitted for so long [60]", 1},
    {"--stall-check-shutdown-time-seconds", "HVD_STALL_SHUTDOWN_TIME_SECONDS",
     "... and end the job after so long; 0: never [0]", 1},
    {"--log-level", "HVD_LOG_LEVEL", "trace, debug, info, warning, error, fatal or off [warning]", 0},
};

// CLI11 knows no long option with one dash; horovodrun's and mpirun's users write them.
// One argument stays one argument.
std::string with_two_dashes(const std::string& argument) {
  if (argument == "-np" || argument.starts_with("-np=")) return "--num-proc" + argument.substr(3);
  if (argument == "--np" || argument.starts_with("--np=")) return "--num-proc" + argument.substr(4);
  if (argument.size() > 3 && argument.starts_with("-np") &&
      argument.find_first_not_of("0123456789", 3) == argument.npos) {
    return "--num-proc=" + argument.substr(3);
  }
  if (argument == "-hostfile" || argument.starts_with("-hostfile=")) return "-" + argument;
  return argument == "-cb" ? "--check-build" : argument;
}

std::optional<long long> whole_number(const std::string& word, long long lowest, long long highest) {
  long long value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size() || value < lowest || value > highest)
    return std::nullopt;
  return value;
}

std::optional<std::chrono::milliseconds> number_of_seconds(const std::string& word) {
  double value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  const bool is_sensible = value >= 0 && value <= 1e6;  // not a number is not
  if (error != std::errc() || end != word.data() + word.size() || !is_sensible) return std::nullopt;
  return std::chrono::milliseconds(std::llround(value * 1000));
}

std::vector<std::string> names_of_options(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const auto& name : option->get_lnames()) names.push_back("--" + name);
  }
  names.emplace_back("-np");
  return names;
}

// CLI11 2.1 would write "Usage: hvdrun [OPTIONS]".
std::string help_text(const CLI::App& app) {
  std::string help = app.help();
  const std::size_t usage = help.find("Usage:");
  const std::size_t usage_end = help.find('\n', usage);
  if (usage == help.npos || usage_end == help.npos) return help;
  return help.substr(0, usage) + "Usage: hvdrun -np N [OPTIONS] PROGRAM [ARGUMENTS...]" +
         help.substr(usage_end);
}

constexpr const char* kExamples =
    "Examples:\n"
    "  hvdrun -np 2 ./train --epochs 5\n"
    "  hvdrun -np 4 --output-filename logs python train.py\n"
    "  hvdrun -np 4 --as-horovod python train_with_horovod.py\n"
    "  hvdrun --check-build\n"
    "\n"
    "horovodrun's other options are accepted too; a line says what takes their place.\n"
    "\n"
    "Exit status: that of the rank that failed first (128 + signal if one killed it), 2 for a bad command "
    "line, 126 or 127 if the\n"
    "program cannot be executed or found. Ctrl-C is passed on to the ranks; a second one kills them.";

}  // namespace

Result<CommandLine> parse_command_line(const std::vector<std::string>& arguments,
                                       std::string_view own_hostname) {
  CommandLine line;
  JobOptions& job = line.job;
  std::string num_proc, min_num_proc, hosts;
  struct Seconds {
    const char* option;
    std::chrono::milliseconds& value;
    std::string word = {};
  } seconds[] = {{"--elastic-timeout", job.meet_again_patience},
                 {"--failure-grace", job.failure_grace},
                 {"--kill-grace", job.kill_grace}};
  std::string setting_values[std::size(kSettings)];
  std::string dump_process;
  bool mark_cycles = false;
  bool no_prefix = false, no_bind = false, check_build = false, version = false, no_stall_check = false,
       stall_check = false;

  CLI::App app("Starts the ranks of a data-parallel job on this host and looks after them.", "hvdrun");
  app.footer(kExamples);
  app.prefix_command();
  app.add_option("-n,--num-proc", num_proc, "Number of ranks (also -np N)")->type_name("N");
  app.add_option(
         "--min-np,--min-num-proc", min_num_proc,
         "Go on without ranks that are lost while N are left; the program meets again (hvd::run_elastic)")
      ->type_name("N");
  app.add_option("--elastic-timeout", seconds[0].word,
                 "Seconds that ranks which meet again wait for one that lives and does not come [30]")
      ->type_name("S");
  app.add_option("-H,--hosts", hosts, "HOST:SLOTS,...; only this host so far")->type_name("LIST");
  app.add_option("--hostfile", line.hostfile, "The same from a file: HOST slots=N a line")->type_name("FILE");
  app.add_option("--output-filename", job.output_directory, "Also write DIR/rank.N/stdout and stderr")
      ->type_name("DIR");
  app.add_flag("--prefix-output-with-timestamp", job.timestamp, "The time before each line");
  app.add_flag("--no-prefix", no_prefix, "No \"[rank] \" before each line");
  app.add_flag("--no-bind", no_bind, "Do not bind ranks to cores of their own");
  app.add_option("--failure-grace", seconds[1].word,
                 "Seconds the other ranks have to end after one has failed [5]")
      ->type_name("S");
  app.add_option("--kill-grace", seconds[2].word, "Seconds from SIGTERM, or ctrl-C, to SIGKILL [10]")
      ->type_name("S");
  for (std::size_t i = 0; i < std::size(kSettings); ++i) {
    app.add_option(kSettings[i].option, setting_values[i], kSettings[i].help)
        ->type_name(kSettings[i].scale ? "N" : "WORD");
  }
  app.add_flag("--no-stall-check", no_stall_check,
               "Do not report tensors that some ranks have not submitted");
  app.add_flag("--stall-check", stall_check, "Report them (the default)");
  app.add_flag("--as-horovod", job.as_horovod,
               "In Python programs, import horovod gets horovod_cpp: scripts for Horovod run as they are");
  app.add_flag("--verbose", job.verbose, "Say what is started where");
  app.add_option("--timeline-filename", job.timeline,
                 "Write what every rank does, as a trace that Perfetto and Chrome show")
      ->type_name("FILE");
  app.add_flag("--timeline-mark-cycles", mark_cycles, "Show rounds of negotiation in it");
  const CLI::Option* const merge =
      app.add_option("--merge-timeline", line.timeline,
                     "Put FILE.rank0, FILE.rank1, ... together, which ranks without hvdrun have written")
          ->type_name("FILE");
  const CLI::Option* const dump =
      app.add_option("--dump", dump_process,
                     "Have the ranks of a running hvdrun (the only one, if PID is left out) say what they do")
          ->expected(0, 1)
          ->type_name("[PID]");
  app.add_flag("--check-build", check_build, "Say what is built and what can be used here (also -cb)");
  app.add_flag("-v,--version", version, "Print the version");
  struct Unneeded {
    const HorovodrunOption& known;
    const CLI::Option* given;
  };
  std::vector<Unneeded> unneeded;
  for (const HorovodrunOption& known : horovodrun_options()) {
    // Not in the help.
    CLI::Option* const option =
        known.values == 0 ? app.add_flag(known.names) : app.add_option(known.names)->expected(known.values);
    unneeded.push_back({known, option->group("")});
  }

  std::vector<std::string> reversed;
  for (auto argument = arguments.rbegin(); argument != arguments.rend(); ++argument)
    reversed.push_back(with_two_dashes(*argument));
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    line.action = CommandLine::Action::print;
    line.message = help_text(app);
    return line;
  } catch (const CLI::ParseError& error) {
    std::string message = error.what();
    if (message.find("num-proc") != message.npos)
      message = "-np needs the number of ranks, for example -np 2";
    return Status::invalid_argument(message.substr(0, message.find('\n')));
  }

  // The program begins at the first argument that is no option. Its arguments come from the originals, not
  // from those rewritten.
  const std::size_t left = app.remaining_size();
  const std::size_t program_at = arguments.size() - left;
  job.command.assign(arguments.begin() + static_cast<std::ptrdiff_t>(program_at), arguments.end());
  const bool after_dashes = program_at > 0 && arguments[program_at - 1] == "--";
  for (const auto& unknown : app.remaining()) {
    if (after_dashes || !unknown.starts_with('-')) break;
    return Status::invalid_argument(hint_for_unknown_option(unknown, names_of_options(app)));
  }
  if (version) {
    line.action = CommandLine::Action::print;
    line.message = "hvdrun (horovod_cpp) " HVD_VERSION "\n";
    return line;
  }
  if (check_build) {
    line.action = CommandLine::Action::check_build;
    return line;
  }
  if (merge->count() > 0) {
    line.action = CommandLine::Action::merge_timeline;
    return line;
  }
  if (dump->count() > 0) {
    line.action = CommandLine::Action::dump;
    if (dump_process.empty()) return line;
    const auto process = whole_number(dump_process, 1, 1 << 30);
    if (!process) {
      return Status::invalid_argument(
          text("--dump ", dump_process, ": expected the process id of a running hvdrun, or nothing"));
    }
    line.dump_process = static_cast<int>(*process);
    return line;
  }

  if (num_proc.empty())
    return Status::invalid_argument("-np is missing: hvdrun -np N PROGRAM [ARGUMENTS...]");
  const auto count = whole_number(num_proc, 1, 1 << 20);
  if (!count)
    return Status::invalid_argument(text("-np ", num_proc, ": the number of ranks is a whole number from 1"));
  job.num_proc = static_cast<int>(*count);
  if (!min_num_proc.empty()) {
    const auto fewest = whole_number(min_num_proc, 1, *count);
    if (!fewest)
      return Status::invalid_argument(text("--min-np ", min_num_proc, ": expected a whole number from 1 to ",
                                           *count, ", the number of ranks (-np)"));
    job.min_num_proc = static_cast<int>(*fewest);
  }
  if (job.command.empty())
    return Status::invalid_argument("the program is missing: hvdrun -np N PROGRAM [ARGUMENTS...]");
  if (job.command.front().empty()) return Status::invalid_argument("the program's name is empty");

  if (!hosts.empty() && !line.hostfile.empty())
    return Status::invalid_argument("--hosts and --hostfile exclude each other");
  if (!hosts.empty()) {
    const auto list = parse_hosts(hosts);
    if (!list.is_ok()) return list.status();
    HVD_RETURN_IF_ERROR(check_hosts(list.value(), own_hostname, job.num_proc));
  }
  for (std::size_t i = 0; i < std::size(kSettings); ++i) {
    const auto& [option, variable, help, scale] = kSettings[i];
    if (setting_values[i].empty()) continue;
    const auto value = scale == 0 ? 0 : whole_number(setting_values[i], 0, 1 << 30);
    if (!value)
      return Status::invalid_argument(
          text(option, " ", setting_values[i], ": expected a whole number from 0"));
    job.settings.emplace_back(variable, scale == 0 ? setting_values[i] : std::to_string(*value * scale));
  }
  if (no_stall_check && stall_check)
    return Status::invalid_argument("--stall-check and --no-stall-check exclude each other");
  if (mark_cycles) job.settings.emplace_back("HVD_TIMELINE_MARK_CYCLES", "1");
  if (no_stall_check) job.settings.emplace_back("HVD_STALL_CHECK_DISABLE", "1");

  for (const auto& [option, value, word] : seconds) {
    if (word.empty()) continue;
    const auto number = number_of_seconds(word);
    if (!number) {
      return Status::invalid_argument(
          text(option, " ", word, ": expected a number of seconds from 0 to 1000000"));
    }
    value = *number;
  }
  for (const auto& [known, given] : unneeded) {
    if (std::string remark = remark_on(known); given->count() > 0 && !remark.empty())
      line.remarks.push_back(std::move(remark));
  }
  job.prefix = !no_prefix;
  job.bind = !no_bind;
  return line;
}

}  // namespace hvd::launcher
