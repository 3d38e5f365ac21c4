#include "launcher/host_list.h"

#include <charconv>
#include <sstream>

#include "horovod_cpp/base/text.h"

namespace hvd::launcher {
namespace {

bool is_this_host(std::string_view host, std::string_view own_hostname) {
  if (host == "localhost" || host == "::1" || host.starts_with("127.") || host == own_hostname) return true;
  const auto short_name = [](std::string_view name) { return name.substr(0, name.find('.')); };
  const bool one_has_no_domain = host.find('.') == host.npos || own_hostname.find('.') == own_hostname.npos;
  return one_has_no_domain && short_name(host) == short_name(own_hostname);
}

}  // namespace

Result<std::vector<HostSlots>> parse_hosts(std::string_view list) {
  std::vector<HostSlots> hosts;
  for (std::size_t first = 0; first <= list.size();) {
    const std::size_t last = std::min(list.find(',', first), list.size());
    const std::string_view entry = list.substr(first, last - first);
    first = last + 1;

    const bool in_brackets = entry.starts_with('[');
    const std::size_t host_end = in_brackets ? entry.find(']') : entry.find(':');
    std::string_view host = entry.substr(0, host_end);
    std::string_view rest = host_end == entry.npos ? "" : entry.substr(host_end);
    if (in_brackets) {
      host.remove_prefix(1);
      if (!rest.empty()) rest.remove_prefix(1);
    }
    HostSlots parsed{std::string(host), 1};
    bool good = !host.empty() && (!in_brackets || host_end != entry.npos);
    if (!rest.empty()) {
      const auto [end, error] = std::from_chars(rest.data() + 1, rest.data() + rest.size(), parsed.slots);
      good &=
          rest.front() == ':' && error == std::errc() && end == rest.data() + rest.size() && parsed.slots > 0;
    }
    if (!good) {
      return Status::invalid_argument(
          text("--hosts: \"", entry, "\" is not HOST:SLOTS, for example localhost:2"));
    }
    hosts.push_back(parsed);
  }
  return hosts;
}

Result<std::vector<HostSlots>> parse_hostfile(std::string_view content) {
  std::vector<HostSlots> hosts;
  std::istringstream lines{std::string(content)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string entry;
    if (!(words >> entry)) continue;
    std::string rest;
    for (std::string word; words >> word;) rest += word;  // "slots = 2" as well
    if (!rest.empty()) entry += rest.starts_with("slots=") ? ":" + rest.substr(6) : ":?";
    const auto parsed = parse_hosts(entry);
    if (!parsed.is_ok() || parsed.value().size() != 1) {
      return Status::invalid_argument(
          text("--hostfile: \"", line, "\" is not HOST slots=N, for example localhost slots=2"));
    }
    hosts.push_back(parsed.value().front());
  }
  if (hosts.empty()) return Status::invalid_argument("--hostfile: there is no host in it");
  return hosts;
}

Status check_hosts(const std::vector<HostSlots>& hosts, std::string_view own_hostname, int num_proc,
                   std::string_view option) {
  long long slots = 0;
  for (const auto& [host, count] : hosts) {
    if (!is_this_host(host, own_hostname)) {
      return Status::invalid_argument(
          text(option, ": ", host,
               " is another host, and starting ranks on other hosts comes later; use "
               "mpirun for now"));
    }
    slots += count;
  }
  if (slots < num_proc) {
    return Status::invalid_argument(
        text("-np ", num_proc, ", but ", option, " has only ", slots, slots == 1 ? " slot" : " slots"));
  }
  return {};
}

}  // namespace hvd::launcher
