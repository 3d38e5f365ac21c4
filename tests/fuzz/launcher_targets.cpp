// What users type, and what ranks leave behind.
#include <algorithm>
#include <sstream>

#include "launcher/command_line.h"
#include "launcher/host_list.h"
#include "launcher/timeline_merge.h"
#include "tests/fuzz/targets.h"

namespace hvd {

using namespace launcher;  // NOLINT(google-build-using-namespace)

// Arguments with a zero byte after each, as execve has them.
void fuzz_command_line(FuzzInput input) {
  const std::vector<std::string> arguments = pieces_of(input, '\0');
  const auto line = parse_command_line(arguments, "box.example.org");
  if (!line.is_ok()) {
    require(line.status().code() == StatusCode::invalid_argument, "another code than invalid_argument");
    require(!line.status().message().empty(), "nothing is said");
    return;
  }
  if (line.value().action != CommandLine::Action::run) return;
  const JobOptions& job = line.value().job;
  require(job.num_proc >= 1 && job.min_num_proc >= 0 && job.min_num_proc <= job.num_proc,
          "no number of ranks");
  require(
      job.failure_grace.count() >= 0 && job.kill_grace.count() >= 0 && job.meet_again_patience.count() >= 0,
      "a time in the past");
  require(!job.command.empty() && job.command.size() < arguments.size() &&
              std::equal(job.command.rbegin(), job.command.rend(), arguments.rbegin()),
          "the program's arguments are not the last ones");
}

std::vector<Bytes> command_line_seeds() {
  const auto words = [](std::initializer_list<const char*> arguments) {
    std::string out;
    for (const char* argument : arguments) out += (out.empty() ? "" : std::string(1, '\0')) + argument;
    return bytes_of_text(out);
  };
  return {
      words({"-np", "2", "./train", "--epochs", "5"}),
      words({"-np3", "-H", "localhost:2,box:1", "--", "./train"}),
      words({"--num-proc=4", "--min-np", "2", "--elastic-timeout", "2.5", "--failure-grace", "1", "p"}),
      words({"-n", "1", "--fusion-threshold-mb", "64", "--log-level=debug", "--no-stall-check", "p", "-x"}),
      words({"--dump", "17"}),
      words({"--merge-timeline", "t.json"}),
      words({"-cb"}),
      words({"--timeline-filename", "t", "--timeline-mark-cycles", "--no-prefix", "--no-bind", "-np=1", "p"}),
      words({"--as-horovod", "-np", "2", "--hostfile", "hosts", "--autotune", "python", "train.py"}),
      words({"--hots", "a:1"})};
}

namespace {

void require_hosts(const Result<std::vector<HostSlots>>& hosts) {
  if (!hosts.is_ok()) {
    require(hosts.status().code() == StatusCode::invalid_argument, "another code than invalid_argument");
    return;
  }
  require(!hosts.value().empty(), "no host");
  for (const HostSlots& one : hosts.value())
    require(!one.host.empty() && one.slots > 0, "a host without slots");
  static_cast<void>(check_hosts(hosts.value(), "box.example.org", 3));
}

}  // namespace

void fuzz_hosts(FuzzInput input) { require_hosts(parse_hosts(text_of(input))); }

std::vector<Bytes> hosts_seeds() {
  return {bytes_of_text("localhost:2,box:4,127.0.0.1"), bytes_of_text("[::1]:8,box.example.org:2147483647"),
          bytes_of_text("a:0,,b:")};
}

void fuzz_hostfile(FuzzInput input) { require_hosts(parse_hostfile(text_of(input))); }

std::vector<Bytes> hostfile_seeds() {
  return {bytes_of_text("# ours\nlocalhost slots=2\n\nbox:4 # new\n127.0.0.1\n"),
          bytes_of_text("[::1] slots = 8\r\nbox slots=0"), bytes_of_text("a b c\n:\n#")};
}

// Two ranks' files, with a zero byte in between.
void fuzz_timeline(FuzzInput input) {
  std::ostringstream out;
  std::size_t count = 0;
  for (const std::string& part : pieces_of(input, '\0')) {
    std::istringstream in(part);
    append_events(in, out, count);
  }
  std::istringstream lines(out.str());
  std::size_t whole = 0;
  for (std::string line; std::getline(lines, line);) {
    ++whole;
    const bool is_last = whole == count;
    const std::size_t end = line.size() - (is_last ? 1 : 2);
    require(line.size() >= 2 && line.front() == '{' && line[end] == '}' && (is_last || line.back() == ','),
            "a line that is no event");
  }
  require(whole == count, "events are counted wrongly");
}

std::vector<Bytes> timeline_seeds() {
  const std::string part =
      "[\n{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":0,\"args\":{\"name\":\"rank 0\"}},\n"
      "{\"name\":\"allreduce\",\"ph\":\"X\",\"ts\":1.5,\"dur\":2,\"pid\":0,\"tid\":1}\n]\n";
  return {bytes_of_text(part), bytes_of_text(part + std::string(1, '\0') + part),
          bytes_of_text(part.substr(0, part.size() - 20)), bytes_of_text("{}\n{\r\n},]\n]\n")};
}

}  // namespace hvd
