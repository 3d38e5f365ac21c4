// Bytes and text that the lowest layer reads.
#include <map>
#include <stdexcept>

#include "bindings/runtime/launch_environment.h"
#include "horovod_cpp/base/config.h"
#include "horovod_cpp/base/known_settings.h"
#include "horovod_cpp/base/socket.h"
#include "tests/fuzz/targets.h"

namespace hvd {

// The first bytes say what is read, the rest is read.
void fuzz_wire(FuzzInput input) {
  constexpr std::size_t kReads = 16;
  const FuzzInput kinds = input.first(std::min(input.size(), kReads));
  ByteReader in(input.subspan(kinds.size()));
  ByteWriter again;
  for (const std::byte kind : kinds) {
    const std::size_t before = in.remaining();
    switch (static_cast<unsigned>(kind) % 5) {
      case 0:
        again.put(in.get<std::uint8_t>());
        break;
      case 1:
        again.put(in.get<std::uint64_t>());
        break;
      case 2:
        again.put(in.get<double>());
        break;
      case 3:
        again.put_text(in.get_text());
        break;
      default:
        again.put_bytes(in.get_bytes());
        break;
    }
    require(in.remaining() <= before, "reading makes the input longer");
    if (in.failed()) {
      require(in.remaining() == 0, "a reader that failed goes on");
      require(in.get_text().empty() && in.get<int>() == 0, "a reader that failed gives something");
      return;
    }
  }
  const FuzzInput read = input.subspan(kinds.size(), input.size() - kinds.size() - in.remaining());
  require(std::equal(read.begin(), read.end(), again.bytes().begin(), again.bytes().end()),
          "what was read is not written alike");
}

std::vector<Bytes> wire_seeds() {
  ByteWriter out;
  for (int kind = 0; kind < 16; ++kind) out.put(static_cast<std::uint8_t>(kind));
  for (int round = 0; round < 4; ++round) {
    out.put(std::uint8_t{1});
    out.put(std::uint64_t{2});
    out.put(3.0);
    out.put_text("text");
    out.put_text("bytes");
  }
  return {out.take()};
}

// Lines "NAME=VALUE": an environment.
void fuzz_settings(FuzzInput input) {
  std::map<std::string, std::string> variables;
  std::vector<std::string> names;
  for (const std::string& line : pieces_of(input, '\n')) {
    const std::size_t equals = std::min(line.find('='), line.size());
    const std::string name = line.substr(0, std::min<std::size_t>(equals, 40));
    variables[name] = equals == line.size() ? "" : line.substr(equals + 1);
    if (names.empty() && name.size() < 24) names.push_back(name);
  }
  const EnvironmentLookup lookup = [&variables](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  };
  if (const auto config = Config::from(lookup); config.is_ok()) {
    const Config& read = config.value();
    require(read.start_timeout.count() >= 1 && read.shutdown_timeout.count() >= 0 &&
                read.stall_warning.count() >= 0 && read.stall_shutdown.count() >= 0,
            "a time in the past");
    require(!Deadline::after(read.start_timeout).passed() && !read.shutdown_deadline().passed(),
            "a deadline that has passed");
  } else {
    require(config.status().code() == StatusCode::invalid_argument, "another code than invalid_argument");
    const std::string message = config.status().message();
    require(message.starts_with("HVD_") || message.starts_with("HOROVOD_"), "the variable is not named");
  }
  if (const auto launch = read_launch_environment(lookup); launch.is_ok()) {
    const Placement& place = launch.value().placement;
    if (launch.value().launcher == Launcher::hvdrun) {
      require(place.rank >= 0 && place.rank < place.size, "a rank that there is not");
    }
    require(place.local_rank >= 0 && place.local_size >= 1, "a local rank that there is not");
  }
  static_cast<void>(remarks_on_settings(names));
}

std::vector<Bytes> settings_seeds() {
  return {bytes_of_text("HVD_FUSION_THRESHOLD=1048576\nHVD_START_TIMEOUT=30\nHVD_SHUTDOWN_TIMEOUT=0\n"
                        "HOROVOD_STALL_CHECK_TIME_SECONDS=60\nHVD_STALL_SHUTDOWN_TIME_SECONDS=0\n"
                        "HVD_STALL_CHECK_DISABLE=1\nHVD_STATIC_PLAN=0"),
          bytes_of_text("HVD_CONTROL=tcp\nHVD_CPU_OPERATIONS=ring\nHVD_TIMELINE=/tmp/t.json\n"
                        "HVD_TIMELINE_MARK_CYCLES=1\nHVD_TIMELINE_MAX_MB=16\nHVD_LOG_LEVEL=debug"),
          bytes_of_text("HVD_RANK=1\nHVD_SIZE=4\nHVD_LOCAL_RANK=1\nHVD_LOCAL_SIZE=2\nHVD_CROSS_RANK=0\n"
                        "HVD_CROSS_SIZE=2\nHVD_RENDEZVOUS=127.0.0.1:4711\nHVD_JOB_KEY_FD=64"),
          bytes_of_text("OMPI_COMM_WORLD_RANK=0\nOMPI_COMM_WORLD_LOCAL_RANK=0\nOMPI_COMM_WORLD_LOCAL_SIZE=2"),
          bytes_of_text("HVD_FUSION_TRESHOLD=1\nHOROVOD_CYCLE_TIME=5\nHVD_SIZE=0")};
}

void fuzz_socket_address(FuzzInput input) {
  const auto address = SocketAddress::parse(text_of(input));
  if (!address.is_ok()) return;
  const std::string words = address.value().text();
  const auto again = SocketAddress::parse(words);
  require(again.is_ok(), words + " is not read again");
  require(again.value().text() == words, words + " is read as " + again.value().text());
}

std::vector<Bytes> socket_address_seeds() {
  std::vector<Bytes> seeds;
  for (const char* words : {"127.0.0.1:40123", "[::1]:1", "[fe80::1%lo]:65535", "[fe80::1%7]:0", "0.0.0.0:0"})
    seeds.push_back(bytes_of_text(words));
  return seeds;
}

}  // namespace hvd
