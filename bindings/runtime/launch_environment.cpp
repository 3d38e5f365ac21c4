#include "bindings/runtime/launch_environment.h"

#include <charconv>
#include <limits>
#include <tuple>

#include "horovod_cpp/base/text.h"

namespace hvd {
namespace {

Result<int> required_number(const EnvironmentLookup& lookup, const char* name, int lowest, int highest) {
  const auto value = lookup_number(lookup, name, lowest, highest);
  HVD_RETURN_IF_ERROR(value.status());
  if (!value.value()) {
    return Status::invalid_argument(
        text("HVD_SIZE is set, but HVD_", name,
             " is not: start the program with hvdrun, or set all of HVD_RANK, HVD_SIZE, "
             "HVD_RENDEZVOUS and HVD_JOB_KEY_FILE"));
  }
  return static_cast<int>(*value.value());
}

Result<int> optional_number(const EnvironmentLookup& lookup, const char* name, int lowest, int highest,
                            int fallback) {
  const auto value = lookup_number(lookup, name, lowest, highest);
  HVD_RETURN_IF_ERROR(value.status());
  return static_cast<int>(value.value().value_or(fallback));
}

Result<LaunchEnvironment> from_hvdrun(const EnvironmentLookup& lookup) {
  LaunchEnvironment out;
  out.launcher = Launcher::hvdrun;
  Placement& place = out.placement;
  const auto read = [&lookup](const char* name, int lowest, int highest, int fallback, int& into) -> Status {
    const Result<int> value = optional_number(lookup, name, lowest, highest, fallback);
    if (value.is_ok()) into = value.value();
    return value.status();
  };
  const Result<int> size = required_number(lookup, "SIZE", 1, std::numeric_limits<int>::max());
  HVD_RETURN_IF_ERROR(size.status());
  const Result<int> rank = required_number(lookup, "RANK", 0, size.value() - 1);
  HVD_RETURN_IF_ERROR(rank.status());
  place.size = size.value();
  place.rank = rank.value();
  HVD_RETURN_IF_ERROR(read("LOCAL_SIZE", 1, place.size, place.size, place.local_size));
  HVD_RETURN_IF_ERROR(
      read("LOCAL_RANK", 0, place.local_size - 1, place.rank % place.local_size, place.local_rank));
  HVD_RETURN_IF_ERROR(read("CROSS_SIZE", 1, place.size, place.size / place.local_size, place.cross_size));
  HVD_RETURN_IF_ERROR(
      read("CROSS_RANK", 0, place.cross_size - 1, place.rank / place.local_size, place.cross_rank));
  out.rendezvous = lookup_setting(lookup, "RENDEZVOUS").value_or("");
  out.job_key = job_key_source(lookup);
  const bool has_key = !out.job_key.descriptor.empty() || !out.job_key.file.empty();
  if (place.size > 1 && !has_key && lookup_setting(lookup, "JOB_KEY")) {
    return Status::invalid_argument(
        text("rank ", place.rank, " of ", place.size,
             ": HVD_JOB_KEY is not read, because others may read the environment; put the key into a file "
             "(mode 600) and name it in HVD_JOB_KEY_FILE, or start the program with hvdrun"));
  }
  if (place.size > 1 && (out.rendezvous.empty() || !has_key)) {
    return Status::invalid_argument(
        text("rank ", place.rank, " of ", place.size, ": ",
             out.rendezvous.empty() ? "HVD_RENDEZVOUS" : "HVD_JOB_KEY_FD (or HVD_JOB_KEY_FILE)",
             " is not set, so the ranks cannot find each other; start the program with hvdrun"));
  }
  return out;
}

// A variable that belongs to an MPI, if it is set.
Status read_plain_number(const EnvironmentLookup& lookup, const char* name, int lowest, int& into) {
  const auto value = lookup(name);
  if (!value) return {};
  int number = 0;
  const auto [end, error] = std::from_chars(value->data(), value->data() + value->size(), number);
  if (error != std::errc{} || end != value->data() + value->size() || number < lowest) {
    return Status::invalid_argument(
        text(name, "='", *value, "': expected a whole number from ", lowest, " on"));
  }
  into = number;
  return {};
}

}  // namespace

Result<LaunchEnvironment> read_launch_environment(const EnvironmentLookup& lookup) {
  if (lookup_setting(lookup, "SIZE")) return from_hvdrun(lookup);
  if (lookup_setting(lookup, "RANK")) {
    return Status::invalid_argument(
        "HVD_RANK is set, but HVD_SIZE is not: start the program with hvdrun, set all of HVD_RANK, HVD_SIZE, "
        "HVD_RENDEZVOUS and HVD_JOB_KEY_FILE, or none of them for one rank alone");
  }
  LaunchEnvironment out;
  // Open MPI; MPICH and Intel MPI.
  for (const auto& [rank, local_rank, local_size] :
       {std::tuple{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"},
        std::tuple{"PMI_RANK", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"}}) {
    if (!lookup(rank)) continue;
    out.launcher = Launcher::mpi;
    HVD_RETURN_IF_ERROR(read_plain_number(lookup, local_size, 1, out.placement.local_size));
    HVD_RETURN_IF_ERROR(read_plain_number(lookup, local_rank, 0, out.placement.local_rank));
    return out;
  }
  return out;
}

}  // namespace hvd
