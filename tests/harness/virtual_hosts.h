// Hosts that are network namespaces of this one, each with a cable to the same switch. Needs root, or a kernel that gives namespaces to
// everybody.
//
// One thread, which ends up in the namespace of the switch.
#pragma once

#include <sys/types.h>

#include <string>

#include "horovod_cpp/base/status.h"

namespace hvd {

// What tests look for when they find that there can be no such hosts.
inline constexpr int kNoVirtualHosts = 77;

// "10.77.0.1" of the host with number 0; the switch itself has an address, too.
std::string address_of_host(int number);
std::string address_of_switch();

// Moves this process to a new network namespace, with a switch in it. unavailable: the kernel forbids it.
Status make_switch();
// In a process that is to be a host: moves it to a namespace of its own, without a cable yet.
Status become_host();
// In the process of the switch: lays the cable to the host, which is that process.
Status lay_cable(int number, pid_t host);
// In a host, once its cable is laid.
Status use_cable(int number);
// In a host: from now on nothing comes and nothing goes, and nobody is told.
Status cut_cable();

}  // namespace hvd
