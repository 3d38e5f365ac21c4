#include "horovod_cpp/rendezvous/address_lookup.h"

#include <netdb.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "horovod_cpp/base/text.h"

namespace hvd {
namespace {

struct Free {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};

bool is_of_a_name(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.' ||
         c == '_';
}

}  // namespace

Result<std::vector<SocketAddress>> look_up_address(const std::string& where) {
  const auto numeric = SocketAddress::parse(where);
  if (numeric.is_ok()) return std::vector{numeric.value()};
  const std::size_t colon = where.rfind(':');
  std::uint16_t port = 0;
  const char* const end = where.data() + where.size();
  const bool has_port = colon != std::string::npos &&
                        std::from_chars(where.data() + colon + 1, end, port).ptr == end && port != 0;
  const std::string name = where.substr(0, std::min(colon, where.size()));
  if (!has_port || name.empty() || !std::ranges::all_of(name, is_of_a_name)) {
    return Status::invalid_argument(
        text("'", where,
             "' is not an address: expected HOST:PORT as in node1:40123, 127.0.0.1:40123 or [::1]:40123"));
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int failure = ::getaddrinfo(name.c_str(), nullptr, &hints, &list);
  const std::unique_ptr<addrinfo, Free> owner(list);
  if (failure != 0) {
    const bool may_be_mended = failure == EAI_AGAIN;
    return Status(may_be_mended ? StatusCode::unavailable : StatusCode::invalid_argument,
                  text("the host name '", name, "' does not resolve (", ::gai_strerror(failure),
                       "): check its spelling, or give the address in numbers"));
  }
  std::vector<SocketAddress> addresses;
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    if (entry->ai_family != AF_INET && entry->ai_family != AF_INET6) continue;
    addresses.emplace_back(entry->ai_addr, entry->ai_addrlen);
    addresses.back().set_port(port);
  }
  if (addresses.empty())
    return Status::invalid_argument(text("the host '", name, "' has neither an IPv4 nor an IPv6 address"));
  return addresses;
}

}  // namespace hvd
