#include "tests/harness/virtual_hosts.h"

#include <arpa/inet.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/veth.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string_view>
#include <vector>

#include "horovod_cpp/base/socket.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/base/unique_fd.h"

namespace hvd {
namespace {

constexpr const char* kSwitch = "switch";
constexpr const char* kCable = "cable";  // as a host sees it
constexpr int kSwitchNumber = 253;

Status failed(const std::string& what) { return Status::unavailable(text(what, ": ", error_text(errno))); }

ifreq request_for(const std::string& interface) {
  ifreq request{};
  interface.copy(request.ifr_name, IFNAMSIZ - 1);
  return request;
}

Status call(unsigned long operation, void* argument, const std::string& what) {
  const UniqueFd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!any.is_open() || ::ioctl(any.get(), operation, argument) != 0) return failed(what);
  return {};
}

Status set_up(const std::string& interface, bool is_up) {
  ifreq request = request_for(interface);
  HVD_RETURN_IF_ERROR(call(SIOCGIFFLAGS, &request, interface));
  request.ifr_flags = static_cast<short>(is_up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
  return call(SIOCSIFFLAGS, &request, text(interface, is_up ? " up" : " down"));
}

Status set_address(const std::string& interface, const std::string& address) {
  for (const auto& [operation, value] :
       {std::pair<unsigned long, std::string>{SIOCSIFADDR, address}, {SIOCSIFNETMASK, "255.255.255.0"}}) {
    ifreq request = request_for(interface);
    auto* const in = reinterpret_cast<sockaddr_in*>(&request.ifr_addr);
    in->sin_family = AF_INET;
    ::inet_pton(AF_INET, value.c_str(), &in->sin_addr);
    HVD_RETURN_IF_ERROR(call(operation, &request, text(interface, " ", value)));
  }
  return {};
}

// A netlink message with attributes in attributes.
class NetlinkMessage {
 public:
  void put(const void* data, std::size_t size) {
    const auto* const bytes = static_cast<const char*>(data);
    bytes_.insert(bytes_.end(), bytes, bytes + size);
    bytes_.resize(NLMSG_ALIGN(bytes_.size()));
  }
  std::size_t open(unsigned short type) {
    const std::size_t at = bytes_.size();
    const rtattr header{0, type};
    put(&header, sizeof header);
    return at;
  }
  void close(std::size_t at) {
    const auto length = static_cast<unsigned short>(bytes_.size() - at);
    std::memcpy(bytes_.data() + at, &length, sizeof length);
  }
  void put_attribute(unsigned short type, std::string_view value) {
    const std::size_t at = open(type);
    put(value.data(), value.size());
    const auto length = static_cast<unsigned short>(sizeof(rtattr) + value.size());
    std::memcpy(bytes_.data() + at, &length, sizeof length);
  }
  std::vector<char>& bytes() { return bytes_; }

 private:
  std::vector<char> bytes_;
};

std::string_view with_end(const std::string& word) { return {word.c_str(), word.size() + 1}; }

Status send_to_kernel(NetlinkMessage& message) {
  auto* const header = reinterpret_cast<nlmsghdr*>(message.bytes().data());
  header->nlmsg_len = static_cast<unsigned>(message.bytes().size());
  const UniqueFd kernel(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!kernel.is_open()) return failed("netlink");
  if (::send(kernel.get(), message.bytes().data(), message.bytes().size(), 0) < 0) return failed("netlink");
  struct {
    nlmsghdr header;
    nlmsgerr error;
    char rest[4096];
  } answer{};
  if (::recv(kernel.get(), &answer, sizeof answer, 0) < 0) return failed("netlink");
  if (answer.error.error == 0) return {};
  errno = -answer.error.error;
  return failed("a virtual cable");
}

// Its other end, kCable, lies in the namespace of that process.
Status make_cable(const std::string& name, pid_t host) {
  NetlinkMessage message;
  nlmsghdr header{};
  header.nlmsg_type = RTM_NEWLINK;
  header.nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK;
  message.put(&header, sizeof header);
  const ifinfomsg any{};
  message.put(&any, sizeof any);
  message.put_attribute(IFLA_IFNAME, with_end(name));
  const std::size_t info = message.open(IFLA_LINKINFO);
  message.put_attribute(IFLA_INFO_KIND, "veth");
  const std::size_t data = message.open(IFLA_INFO_DATA);
  const std::size_t peer = message.open(VETH_INFO_PEER);
  message.put(&any, sizeof any);
  message.put_attribute(IFLA_IFNAME, with_end(kCable));
  message.put_attribute(IFLA_NET_NS_PID, {reinterpret_cast<const char*>(&host), sizeof host});
  for (const std::size_t at : {peer, data, info}) message.close(at);
  return send_to_kernel(message);
}

// Who is not root becomes root of a namespace of users.
Status become_root() {
  const uid_t user = ::geteuid();
  const gid_t group = ::getegid();
  if (user == 0) return {};
  if (::unshare(CLONE_NEWUSER) != 0) return failed("a namespace of users");
  std::ofstream("/proc/self/setgroups") << "deny";
  std::ofstream("/proc/self/uid_map") << "0 " << user << " 1";
  std::ofstream("/proc/self/gid_map") << "0 " << group << " 1";
  return {};
}

}  // namespace

std::string address_of_host(int number) { return text("10.77.0.", number + 1); }
std::string address_of_switch() { return address_of_host(kSwitchNumber); }

Status become_host() {
  if (::unshare(CLONE_NEWNET) != 0) return failed("a network namespace");
  return set_up("lo", true);
}

Status make_switch() {
  HVD_RETURN_IF_ERROR(become_root());
  HVD_RETURN_IF_ERROR(become_host());
  std::string name = kSwitch;
  HVD_RETURN_IF_ERROR(call(SIOCBRADDBR, name.data(), "a bridge"));
  // One of its own: it would take over the lowest of its ports', a new one with every cable, and lose what hosts send to the old one.
  ifreq own = request_for(kSwitch);
  own.ifr_hwaddr.sa_family = ARPHRD_ETHER;
  constexpr unsigned char kOwn[] = {0x02, 0, 0, 0, 0, 0xfe};
  std::memcpy(own.ifr_hwaddr.sa_data, kOwn, sizeof kOwn);
  HVD_RETURN_IF_ERROR(call(SIOCSIFHWADDR, &own, "the address of the bridge"));
  HVD_RETURN_IF_ERROR(set_address(kSwitch, address_of_switch()));
  return set_up(kSwitch, true);
}

Status lay_cable(int number, pid_t host) {
  const std::string name = text("port", number);
  HVD_RETURN_IF_ERROR(make_cable(name, host));
  ifreq request = request_for(kSwitch);
  request.ifr_ifindex = static_cast<int>(::if_nametoindex(name.c_str()));
  HVD_RETURN_IF_ERROR(call(SIOCBRADDIF, &request, "a port of the bridge"));
  return set_up(name, true);
}

Status use_cable(int number) {
  HVD_RETURN_IF_ERROR(set_address(kCable, address_of_host(number)));
  return set_up(kCable, true);
}

Status cut_cable() { return set_up(kCable, false); }

}  // namespace hvd
