#include "horovod_cpp/transport/tcp/tcp_contact.h"

#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "horovod_cpp/transport/host_identity.h"

namespace hvd {
namespace {

constexpr std::size_t kMaxAddresses = 256;

bool is_loopback(const SocketAddress& address) {
  if (address.family() == AF_INET6) {
    return IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6*>(address.data())->sin6_addr);
  }
  return ntohl(reinterpret_cast<const sockaddr_in*>(address.data())->sin_addr.s_addr) >> 24 == 127;
}

bool is_link_local(const sockaddr* address) {
  return address->sa_family == AF_INET6 &&
         IN6_IS_ADDR_LINKLOCAL(&reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr);
}

}  // namespace

Bytes encode(const TcpContact& contact) {
  ByteWriter out;
  out.put_text(contact.host);
  out.put(static_cast<std::uint32_t>(contact.addresses.size()));
  for (const std::string& address : contact.addresses) out.put_text(address);
  return out.take();
}

Result<TcpContact> decode_tcp_contact(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  TcpContact contact;
  contact.host = in.get_text();
  const auto count = in.get<std::uint32_t>();
  if (count > kMaxAddresses) in.fail();
  for (std::uint32_t i = 0; i < count && !in.failed(); ++i) contact.addresses.push_back(in.get_text());
  if (in.failed() || in.remaining() > 0) {
    return Status::internal("a rank's TCP addresses cannot be read: ranks run different versions");
  }
  return contact;
}

std::vector<SocketAddress> addresses_to_try(const TcpContact& mine, const TcpContact& theirs) {
  const bool is_same_host = mine.host == theirs.host;
  std::vector<SocketAddress> near, far;
  for (const std::string& address : theirs.addresses) {
    const auto parsed = SocketAddress::parse(address);
    if (parsed.is_ok()) (is_loopback(parsed.value()) ? near : far).push_back(parsed.value());
  }
  if (is_same_host) far.insert(far.begin(), near.begin(), near.end());
  return far;
}

std::vector<SocketAddress> interface_addresses(std::span<const std::string> interfaces) {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return {};
  std::vector<SocketAddress> out;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || (entry->ifa_flags & IFF_UP) == 0 ||
        (entry->ifa_flags & IFF_LOOPBACK) != 0)
      continue;
    if (!interfaces.empty() && std::ranges::find(interfaces, entry->ifa_name) == interfaces.end()) continue;
    const int family = entry->ifa_addr->sa_family;
    if ((family != AF_INET && family != AF_INET6) || is_link_local(entry->ifa_addr)) continue;
    out.emplace_back(entry->ifa_addr, family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
  }
  ::freeifaddrs(list);
  if (out.size() > kMaxAddresses - 1) out.resize(kMaxAddresses - 1);
  return out;
}

TcpListener::TcpListener(UniqueFd socket, TcpContact contact)
    : socket_(std::move(socket)), contact_(std::move(contact)) {}

Result<TcpListener> TcpListener::open() {
  constexpr int kBacklog = 4096;
  // Both are valid addresses, so parse cannot fail.
  auto socket = listen_tcp(SocketAddress::parse("[::]:0").value(), kBacklog);
  const bool has_ipv6 = socket.is_ok();
  if (!has_ipv6) socket = listen_tcp(SocketAddress::parse("0.0.0.0:0").value(), kBacklog);
  if (!socket.is_ok()) return socket.status();
  const auto bound = SocketAddress::of(socket->get());
  if (!bound.is_ok()) return bound.status();
  // To find out the host's name and addresses takes one more for a moment; without it they would be wrong.
  if (!UniqueFd(::fcntl(socket->get(), F_DUPFD_CLOEXEC, 0)).is_open())
    return Status::aborted("cannot listen: " + error_text(errno));

  TcpContact contact;
  contact.host = host_identity();
  for (SocketAddress& address : interface_addresses({})) {
    if (address.family() == AF_INET6 && !has_ipv6) continue;
    address.set_port(bound.value().port());
    contact.addresses.push_back(address.text());
  }
  // A host may have IPv6 only.
  const SocketAddress loopback4 = SocketAddress::parse("127.0.0.1:0").value();
  const bool has_ipv4 = !has_ipv6 || listen_tcp(loopback4, 1).is_ok();
  SocketAddress loopback = has_ipv4 ? loopback4 : SocketAddress::parse("[::1]:0").value();
  loopback.set_port(bound.value().port());
  contact.addresses.push_back(loopback.text());
  return TcpListener(std::move(socket).value(), std::move(contact));
}

}  // namespace hvd
