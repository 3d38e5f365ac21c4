// Which running kernel this process belongs to. Equal on two ranks:
// probably one host, worth trying; it proves nothing.
#pragma once

#include <string>

namespace hvd {

// The kernel's boot id and the network namespace: "3f0c…-…/4026531840". Parts that cannot be read are empty.
std::string host_identity();

}  // namespace hvd
