#include "tests/fuzz/fuzz_target.h"

#include <algorithm>
#include <stdexcept>

#include "tests/fuzz/targets.h"

namespace hvd {
namespace {

constexpr FuzzTarget kTargets[] = {
    {"agreement", fuzz_agreement, agreement_seeds},
    {"command_line", fuzz_command_line, command_line_seeds},
    {"framing", fuzz_framing, framing_seeds},
    {"handshake", fuzz_handshake, handshake_seeds},
    {"hostfile", fuzz_hostfile, hostfile_seeds},
    {"hosts", fuzz_hosts, hosts_seeds},
    {"job_key", fuzz_job_key, job_key_seeds},
    {"local_mesh", fuzz_local_mesh, local_mesh_seeds},
    {"negotiation", fuzz_negotiation, negotiation_seeds},
    {"picture", fuzz_picture, picture_seeds},
    {"rendezvous", fuzz_rendezvous, rendezvous_seeds},
    {"report", fuzz_report, report_seeds},
    {"settings", fuzz_settings, settings_seeds},
    {"socket_address", fuzz_socket_address, socket_address_seeds},
    {"tcp_contact", fuzz_tcp_contact, tcp_contact_seeds},
    {"timeline", fuzz_timeline, timeline_seeds},
    {"tls", fuzz_tls, tls_seeds},
    {"watcher", fuzz_watcher, watcher_seeds},
    {"wire", fuzz_wire, wire_seeds},
};

}  // namespace

std::span<const FuzzTarget> fuzz_targets() { return kTargets; }

const FuzzTarget* find_fuzz_target(const std::string& name) {
  const auto* const found = std::find_if(std::begin(kTargets), std::end(kTargets),
                                         [&](const FuzzTarget& target) { return target.name == name; });
  return found == std::end(kTargets) ? nullptr : found;
}

void require(bool holds, const std::string& words) {
  if (!holds) throw std::logic_error(words);
}

std::string text_of(FuzzInput input) { return {reinterpret_cast<const char*>(input.data()), input.size()}; }

Bytes bytes_of_text(std::string_view words) {
  const auto bytes = std::as_bytes(std::span(words));
  return {bytes.begin(), bytes.end()};
}

std::vector<std::string> pieces_of(FuzzInput input, char separator) {
  std::vector<std::string> pieces(1);
  for (const char c : text_of(input)) {
    if (c == separator) {
      pieces.emplace_back();
    } else {
      pieces.back() += c;
    }
  }
  return pieces;
}

}  // namespace hvd
