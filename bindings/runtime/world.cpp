#include "horovod_cpp/world.h"

#include <atomic>

#include "bindings/runtime/agreement.h"
#include "bindings/runtime/clock_alignment.h"
#include "bindings/runtime/fork_guard.h"
#include "bindings/runtime/launch_environment.h"
#include "bindings/runtime/meeting.h"
#include "bindings/runtime/picture_signal.h"
#include "bindings/runtime/plugin_loader.h"
#include "horovod_cpp/base/known_settings.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/transport/stream/stream.h"
#include "ops/host/adasum.h"
#include "ops/host/ring_collectives.h"
#include "ops/shm/shm_collectives.h"

namespace hvd {
namespace {

// What is used, once "auto" has been decided.
struct Choice {
  std::string control;
  std::string cpu_operations;
};

// Pure: the same on every rank, since all have the same settings and know the same of each other.
Choice choose(const Config& config, bool shares_memory, Launcher launcher) {
  const bool is_mpi = launcher == Launcher::mpi;
  Choice choice{config.control, config.cpu_operations};
  if (choice.control == "auto") choice.control = shares_memory ? "shm" : is_mpi ? "mpi" : "tcp";
  if (choice.cpu_operations == "auto")
    choice.cpu_operations = shares_memory ? "shm" : is_mpi ? "mpi" : "ring";
  return choice;
}

Status refuse(const char* setting, const std::string& value, const std::string& why) {
  return Status::unavailable(text("HVD_", setting, "=", value, ": ", why));
}

Status check(const Choice& choice, Launcher launcher, const Status& local_group) {
  for (const auto& [setting, value] :
       {std::pair{"CONTROL", choice.control}, std::pair{"CPU_OPERATIONS", choice.cpu_operations}}) {
    if (value == "shm" && !local_group.is_ok()) return refuse(setting, value, local_group.message());
    if (value == "mpi" && launcher != Launcher::mpi) {
      return refuse(setting, value, "start the program with mpirun, or leave the setting out");
    }
    if (value == "tcp" && launcher != Launcher::hvdrun) {
      return refuse(setting, value, "start the program with hvdrun, or leave the setting out");
    }
  }
  return {};
}

Result<std::unique_ptr<Collectives>> open_plugin_collectives(const PluginTable& plugin, Transport& bootstrap,
                                                             const std::shared_ptr<Device>& device,
                                                             Deadline deadline) {
  std::unique_ptr<Collectives> collectives;
  HVD_RETURN_IF_ERROR(plugin.open_collectives(bootstrap, device, deadline, &collectives));
  return collectives;
}

Result<std::unique_ptr<Collectives>> open_cpu_collectives(const Choice& choice, Meeting& meeting,
                                                          Transport& control, LocalGroup* local, bool encrypt,
                                                          Deadline deadline) {
  Transport& bootstrap = *meeting.transport;
  if (choice.cpu_operations == "shm") return open_shm_collectives(local->memory, deadline);
  if (choice.cpu_operations == "ring") {
    if (choice.control != "tcp" || bootstrap.size() == 1) return make_ring_collectives(control);
    auto data = open_data_transport(meeting, encrypt, deadline);
    HVD_RETURN_IF_ERROR(data.status());
    return make_ring_collectives(std::move(data).value());
  }
  const auto plugin = load_plugin("mpi");
  HVD_RETURN_IF_ERROR(plugin.status());
  return open_plugin_collectives(*plugin.value(), bootstrap, nullptr, deadline);
}

// The GPU backend, if every rank has a GPU, a driver and NCCL; nothing otherwise.
Result<std::unique_ptr<Collectives>> open_cuda_collectives(int gpu, Transport& bootstrap, Deadline deadline) {
  const auto plugin = load_plugin("cuda");
  std::shared_ptr<Device> device;
  std::string details;
  const bool has_gpu = plugin.is_ok() && plugin.value()->probe(&details).is_ok() &&
                       plugin.value()->open_device(gpu, &device).is_ok();
  const std::byte mine{static_cast<unsigned char>(has_gpu)};
  std::vector<Bytes> all;
  HVD_RETURN_IF_ERROR(bootstrap.all_gather({&mine, 1}, all, deadline));
  for (const Bytes& one : all) {
    if (one != Bytes{std::byte{1}}) return std::unique_ptr<Collectives>{};
  }
  return open_plugin_collectives(*plugin.value(), bootstrap, device, deadline);
}

// How ranks of one host do without the memory that one of them has no room for; the same on all.
Status do_without_memory(const Status& why, const Config& config, Launcher launcher, int rank,
                         bool has_control, Choice& choice) {
  if (why.code() != StatusCode::unavailable) return why;
  Choice other = choose(config, false, launcher);
  if (has_control) other.control = "auto";  // nothing to be checked
  HVD_RETURN_IF_ERROR(check(other, launcher, why));
  if (!has_control) choice.control = other.control;
  choice.cpu_operations = other.cpu_operations;
  if (rank == 0) {
    Log(config.log_level, rank)
        .warning(text("shared memory cannot be had, and ranks go on more slowly, with ", choice.control,
                      " and ", choice.cpu_operations, ": ", why.message()));
  }
  return {};
}

// agree(), after connections were made. Aborted: by this rank alone, or by one that has died; the others may still wait for connections, and
// not here.
Status agree_on_connections(Transport& bootstrap, const Status& mine, Deadline deadline) {
  return mine.code() == StatusCode::aborted ? mine : agree(bootstrap, mine, deadline);
}

// An earlier Session of this process has begun the timeline.
std::atomic<bool> has_a_timeline{false};  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

Result<std::unique_ptr<Session>> open(const Config& config, const LaunchEnvironment& launch, Meet whom) {
  Result<Meeting> meeting = meet(launch, config.start_timeout, whom, config.log_level);
  HVD_RETURN_IF_ERROR(meeting.status());
  const Deadline deadline = Deadline::after(config.start_timeout);
  Transport& bootstrap = *meeting->transport;
  HVD_RETURN_IF_ERROR(agree_on_settings(bootstrap, config, deadline));
  SessionParts parts;
  parts.placement = meeting->placement;
  parts.config = config;

  Result<LocalGroup> local = join_local_group(bootstrap, deadline);
  if (!local.is_ok() && local.status().code() != StatusCode::unavailable) return local.status();
  Choice choice = choose(config, local.is_ok(), launch.launcher);
  HVD_RETURN_IF_ERROR(check(choice, launch.launcher, local.status()));

  if (choice.control == "shm") {
    auto control = open_stream_transport(*local->memory, "shm", deadline);
    if (const Status agreed = agree(bootstrap, control.status(), deadline); agreed.is_ok()) {
      parts.control = std::move(control).value();
    } else {
      HVD_RETURN_IF_ERROR(
          do_without_memory(agreed, config, launch.launcher, parts.placement.rank, false, choice));
    }
  }
  Transport& control = parts.control ? *parts.control : bootstrap;
  const auto open_cpu = [&] {
    return open_cpu_collectives(choice, *meeting, control, local.is_ok() ? &*local : nullptr, config.encrypt,
                                deadline);
  };
  auto cpu = open_cpu();
  Status cpu_agreed = agree_on_connections(bootstrap, cpu.status(), deadline);
  if (!cpu_agreed.is_ok() && choice.cpu_operations == "shm") {
    HVD_RETURN_IF_ERROR(do_without_memory(cpu_agreed, config, launch.launcher, parts.placement.rank,
                                          parts.control != nullptr, choice));
    cpu = open_cpu();
    cpu_agreed = agree_on_connections(bootstrap, cpu.status(), deadline);
  }
  HVD_RETURN_IF_ERROR(cpu_agreed);
  parts.collectives.push_back(
      with_adasum(std::move(cpu).value(), parts.placement.rank, parts.placement.size));
  // Survivors keep the GPU that they have.
  auto cuda = open_cuda_collectives(launch.placement.local_rank, bootstrap, deadline);
  HVD_RETURN_IF_ERROR(agree(bootstrap, cuda.status(), deadline));
  if (cuda.value()) parts.collectives.push_back(std::move(cuda).value());

  std::vector<SecureSocket> links;
  if (local.is_ok()) {
    links = plain_sockets(std::move(local->links));
  } else if (launch.launcher == Launcher::hvdrun) {
    auto remote = open_remote_links(*meeting, config.heartbeat_timeout, deadline);
    HVD_RETURN_IF_ERROR(agree_on_connections(bootstrap, remote.status(), deadline));
    links = std::move(remote).value();
  }
  // Of one host there is one steady clock.
  if (!local.is_ok()) {
    const auto ahead = measure_clock_ahead(bootstrap, deadline);
    HVD_RETURN_IF_ERROR(agree(bootstrap, ahead.status(), deadline));
    parts.clock_offset = ahead.value();
  }
  if (launch.launcher == Launcher::hvdrun) {
    PictureSignal signal = take_picture_signal();
    parts.picture_signal = std::move(signal.readable);
    parts.picture_signal_owner = std::move(signal.owner);
    parts.placement_at_start = launch.placement;
  }
  if (!config.timeline.empty()) parts.timeline_goes_on = has_a_timeline.exchange(true);
  std::vector<int> sockets;
  for (const SecureSocket& link : links) sockets.push_back(link.fd());
  if (!links.empty()) parts.peer_links = std::make_shared<std::vector<SecureSocket>>(std::move(links));
  if (local.is_ok()) sockets.insert(sockets.end(), local->sockets.begin(), local->sockets.end());
  if (!parts.control) {
    sockets.insert(sockets.end(), meeting->sockets.begin(), meeting->sockets.end());
    parts.control = std::move(meeting->transport);
  }
  auto guard = keep_from_children(sockets);
  HVD_RETURN_IF_ERROR(guard.status());
  parts.fork_guard = std::move(guard).value();
  return Session::create(std::move(parts));
}

Result<std::unique_ptr<Session>> open(const EnvironmentLookup& lookup, Meet whom) {
  const Result<Config> config = Config::from(lookup);
  HVD_RETURN_IF_ERROR(config.status());
  const Result<LaunchEnvironment> launch = read_launch_environment(lookup);
  HVD_RETURN_IF_ERROR(launch.status());
  return open(config.value(), launch.value(), whom);
}

}  // namespace

Result<std::unique_ptr<Session>> open_session(const EnvironmentLookup& lookup) {
  return open(lookup, Meet::all);
}

Result<std::unique_ptr<Session>> open_session() {
  auto session = open_session(process_environment());
  // Rank 0 says it for all; where there is no world it may be the reason.
  if (!session.is_ok() || (*session)->rank() == 0) {
    const Log log(session.is_ok() ? (*session)->config().log_level : LogLevel::warning, -1);
    for (const std::string& remark : remarks_on_environment()) log.warning(remark);
  }
  return session;
}

Result<std::unique_ptr<Session>> open_session_of_survivors(const EnvironmentLookup& lookup) {
  return open(lookup, Meet::survivors);
}

}  // namespace hvd
