#include "horovod_cpp/base/config.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <vector>

#include "horovod_cpp/base/text.h"

namespace hvd {
namespace {

// The variable that lookup_setting() takes.
std::string variable_of(const EnvironmentLookup& lookup, const std::string& name) {
  const bool is_horovods = !lookup("HVD_" + name) && lookup("HOROVOD_" + name);
  return (is_horovods ? "HOROVOD_" : "HVD_") + name;
}

// Assigns the number of a setting to `out`, in units of T, if it is set.
template <class T>
Status read_number(const EnvironmentLookup& lookup, const std::string& name, long long lowest, T& out) {
  const auto value = lookup_number(lookup, name, lowest, std::numeric_limits<std::int32_t>::max());
  HVD_RETURN_IF_ERROR(value.status());
  if (value.value()) out = T(*value.value());
  return {};
}

Status read_choice(const EnvironmentLookup& lookup, const std::string& name,
                   const std::vector<std::string>& choices, std::string& out) {
  const auto value = lookup_setting(lookup, name);
  if (!value) return {};
  if (std::find(choices.begin(), choices.end(), *value) == choices.end()) {
    std::string all;
    for (const auto& choice : choices) all += (all.empty() ? "" : ", ") + choice;
    return Status::invalid_argument(
        text(variable_of(lookup, name), "='", *value, "': expected one of ", all));
  }
  out = *value;
  return {};
}

Status read_switch(const EnvironmentLookup& lookup, const std::string& name, bool& out) {
  const auto number = lookup_number(lookup, name, 0, 1);
  HVD_RETURN_IF_ERROR(number.status());
  if (number.value()) out = *number.value() == 1;
  return {};
}

}  // namespace

EnvironmentLookup process_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    return value ? std::optional<std::string>(value) : std::nullopt;
  };
}

std::optional<std::string> lookup_setting(const EnvironmentLookup& lookup, const std::string& name) {
  if (auto value = lookup("HVD_" + name)) return value;
  return lookup("HOROVOD_" + name);
}

Result<std::optional<long long>> lookup_number(const EnvironmentLookup& lookup, const std::string& name,
                                               long long lowest, long long highest) {
  const auto value = lookup_setting(lookup, name);
  if (!value) return std::optional<long long>{};
  long long number = 0;
  const auto [end, error] = std::from_chars(value->data(), value->data() + value->size(), number);
  if (error != std::errc{} || end != value->data() + value->size() || number < lowest || number > highest) {
    return Status::invalid_argument(text(variable_of(lookup, name), "='", *value,
                                         "': expected a whole number from ", lowest, " to ", highest));
  }
  return std::optional<long long>{number};
}

Result<Config> Config::from(const EnvironmentLookup& lookup) {
  Config config;
  auto threshold = lookup_number(lookup, "FUSION_THRESHOLD", 0, std::numeric_limits<long long>::max());
  HVD_RETURN_IF_ERROR(threshold.status());
  if (threshold.value()) config.fusion_threshold_bytes = static_cast<std::size_t>(*threshold.value());
  HVD_RETURN_IF_ERROR(read_number(lookup, "START_TIMEOUT", 1, config.start_timeout));
  HVD_RETURN_IF_ERROR(read_number(lookup, "SHUTDOWN_TIMEOUT", 0, config.shutdown_timeout));
  HVD_RETURN_IF_ERROR(read_number(lookup, "STALL_CHECK_TIME_SECONDS", 0, config.stall_warning));
  HVD_RETURN_IF_ERROR(read_number(lookup, "STALL_SHUTDOWN_TIME_SECONDS", 0, config.stall_shutdown));
  HVD_RETURN_IF_ERROR(read_number(lookup, "HEARTBEAT_TIMEOUT_SECONDS", 0, config.heartbeat_timeout));
  int stall_check_disabled = 0;
  HVD_RETURN_IF_ERROR(read_number(lookup, "STALL_CHECK_DISABLE", 0, stall_check_disabled));
  if (stall_check_disabled != 0) config.stall_warning = std::chrono::seconds(0);
  HVD_RETURN_IF_ERROR(read_switch(lookup, "STATIC_PLAN", config.static_plan));
  HVD_RETURN_IF_ERROR(read_switch(lookup, "ENCRYPT", config.encrypt));
  HVD_RETURN_IF_ERROR(read_choice(lookup, "CONTROL", {"auto", "shm", "tcp", "mpi"}, config.control));
  HVD_RETURN_IF_ERROR(
      read_choice(lookup, "CPU_OPERATIONS", {"auto", "shm", "ring", "mpi"}, config.cpu_operations));
  config.timeline = lookup_setting(lookup, "TIMELINE").value_or("");
  if (config.timeline == "DYNAMIC") config.timeline.clear();
  HVD_RETURN_IF_ERROR(read_switch(lookup, "TIMELINE_MARK_CYCLES", config.timeline_mark_cycles));
  const auto max_megabytes = lookup_number(lookup, "TIMELINE_MAX_MB", 1, 1 << 20);
  HVD_RETURN_IF_ERROR(max_megabytes.status());
  if (max_megabytes.value())
    config.timeline_max_bytes = static_cast<std::size_t>(*max_megabytes.value()) << 20U;
  if (const auto word = lookup_setting(lookup, "LOG_LEVEL")) {
    const auto level = parse_log_level(*word);
    if (!level) {
      return Status::invalid_argument(
          text(variable_of(lookup, "LOG_LEVEL"), "='", *word,
               "': expected one of trace, debug, info, warning, error, fatal, off"));
    }
    config.log_level = *level;
  }
  return config;
}

}  // namespace hvd
