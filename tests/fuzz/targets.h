// The targets, a function and its seeds each. fuzz_target.cpp has the table.
#pragma once

#include "tests/fuzz/fuzz_target.h"

namespace hvd {

void fuzz_agreement(FuzzInput input);
std::vector<Bytes> agreement_seeds();
void fuzz_command_line(FuzzInput input);
std::vector<Bytes> command_line_seeds();
void fuzz_framing(FuzzInput input);
std::vector<Bytes> framing_seeds();
void fuzz_handshake(FuzzInput input);
std::vector<Bytes> handshake_seeds();
void fuzz_hosts(FuzzInput input);
std::vector<Bytes> hosts_seeds();
void fuzz_hostfile(FuzzInput input);
std::vector<Bytes> hostfile_seeds();
void fuzz_job_key(FuzzInput input);
std::vector<Bytes> job_key_seeds();
void fuzz_local_mesh(FuzzInput input);
std::vector<Bytes> local_mesh_seeds();
void fuzz_negotiation(FuzzInput input);
std::vector<Bytes> negotiation_seeds();
void fuzz_picture(FuzzInput input);
std::vector<Bytes> picture_seeds();
void fuzz_rendezvous(FuzzInput input);
std::vector<Bytes> rendezvous_seeds();
void fuzz_report(FuzzInput input);
std::vector<Bytes> report_seeds();
void fuzz_settings(FuzzInput input);
std::vector<Bytes> settings_seeds();
void fuzz_socket_address(FuzzInput input);
std::vector<Bytes> socket_address_seeds();
void fuzz_tcp_contact(FuzzInput input);
std::vector<Bytes> tcp_contact_seeds();
void fuzz_timeline(FuzzInput input);
std::vector<Bytes> timeline_seeds();
void fuzz_tls(FuzzInput input);
std::vector<Bytes> tls_seeds();
void fuzz_watcher(FuzzInput input);
std::vector<Bytes> watcher_seeds();
void fuzz_wire(FuzzInput input);
std::vector<Bytes> wire_seeds();

}  // namespace hvd
