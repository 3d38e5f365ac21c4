#include "horovod_cpp/rendezvous/bind_address.h"

namespace hvd {

Result<SocketAddress> parse_bind_address(const std::string& text) {
  auto address = SocketAddress::parse(text);
  if (address.is_ok()) return address;
  const bool is_bare_ipv6 = text.find(':') != std::string::npos && text.find('[') == std::string::npos;
  auto with_port = SocketAddress::parse(is_bare_ipv6 ? "[" + text + "]:0" : text + ":0");
  return with_port.is_ok() ? with_port : address;
}

}  // namespace hvd
