#include "horovod_cpp/transport/shm/local_mesh.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <string>
#include <utility>

#include "horovod_cpp/base/secret.h"
#include "horovod_cpp/base/socket.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/transport/host_identity.h"

// Three all_gathers and no waiting in between: (1) everybody's listening address and secret; (2) whether
// connecting to the lower ranks worked; a connection and its greeting then lie in the listener's queue, so
// accepting needs no wait; (3) whether all greetings were found. Everybody reads the same answers, so
// everybody comes to the same verdict.

namespace hvd {
namespace {

constexpr std::size_t kSecretBytes = 16;
constexpr std::size_t kSecretDigits = 2 * kSecretBytes;

// The first thing sent on a connection.
struct Greeting {
  std::array<char, kSecretDigits> secret{};  // of the listener
  std::int32_t rank = -1;                    // of the sender
};

struct Listener {
  UniqueFd socket;
  Bytes address;  // abstract, without the family
  std::string secret;
};

// What a rank tells the others first. An empty address: it cannot listen, and `trouble` says why.
struct Contact {
  Bytes address;
  std::string secret;
  std::string host;
  std::string trouble;
};

Bytes encode(const Contact& contact) {
  ByteWriter out;
  out.put_bytes(contact.address);
  out.put_text(contact.secret);
  out.put_text(contact.host);
  out.put_text(contact.trouble);
  return out.take();
}

Result<Contact> decode_contact(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  Contact contact;
  const auto address = in.get_bytes();
  contact.address.assign(address.begin(), address.end());
  contact.secret = in.get_text();
  contact.host = in.get_text();
  contact.trouble = in.get_text();
  if (in.failed())
    return Status::internal("a rank's local address cannot be read: ranks run different versions");
  return contact;
}

UniqueFd local_socket() { return UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)); }

Result<Listener> open_listener() {
  const auto failed = [] { return Status::unavailable("cannot open a local socket: " + error_text(errno)); };
  Listener listener;
  listener.socket = local_socket();
  if (!listener.socket.is_open()) return failed();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // Only the family: the kernel picks a free abstract name; unix(7), "autobind".
  if (::bind(listener.socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(sa_family_t)) != 0 ||
      ::listen(listener.socket.get(), 4096) != 0) {
    return failed();
  }
  socklen_t length = sizeof(address);
  if (::getsockname(listener.socket.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0)
    return failed();
  const auto* path = reinterpret_cast<const std::byte*>(&address.sun_path);
  listener.address.assign(path, path + (length - offsetof(sockaddr_un, sun_path)));
  auto secret = random_secret(kSecretBytes);
  if (!secret.is_ok()) return secret.status();
  listener.secret = std::move(secret).value();
  return listener;
}

bool is_same_user(int socket) {
  ucred peer{};
  socklen_t length = sizeof(peer);
  return ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == ::geteuid();
}

Result<UniqueFd> connect_to(const Contact& contact, int own_rank) {
  if (contact.address.empty()) return Status::unavailable(contact.trouble);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (contact.address.size() > sizeof(address.sun_path) || contact.secret.size() != kSecretDigits) {
    return Status::internal("its local address cannot be read");
  }
  std::memcpy(&address.sun_path, contact.address.data(), contact.address.size());
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + contact.address.size());
  UniqueFd socket = local_socket();
  if (!socket.is_open()) return Status::unavailable("no local socket: " + error_text(errno));
  int connected = 0;
  do {
    connected = ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), length);
  } while (connected != 0 && errno == EINTR);
  if (connected != 0) return Status::unavailable("cannot connect: " + error_text(errno));
  // On another host the same abstract name may belong to anybody.
  if (!is_same_user(socket.get())) return Status::unavailable("the socket there belongs to another user");
  Greeting greeting;
  std::memcpy(greeting.secret.data(), contact.secret.data(), kSecretDigits);
  greeting.rank = own_rank;
  const auto bytes = std::as_bytes(std::span(&greeting, 1));
  // A fresh stream socket takes these few bytes at once.
  if (send_some(socket.get(), bytes).bytes != bytes.size())
    return Status::unavailable("it does not take the greeting");
  return socket;
}

// Sorts the connections that lie in the listener's queue into `links`; strangers are dropped.
void accept_greeted(const Listener& listener, int own_rank, std::vector<UniqueFd>& links) {
  while (true) {
    auto accepted = accept_connection(listener.socket.get());
    if (!accepted.is_ok() || !accepted->is_open()) return;
    const int fd = accepted->get();
    Greeting greeting;
    const auto bytes = std::as_writable_bytes(std::span(&greeting, 1));
    if (!is_same_user(fd) || receive_some(fd, bytes).bytes != bytes.size()) continue;
    if (!is_same_secret({greeting.secret.data(), kSecretDigits}, listener.secret)) continue;
    if (greeting.rank <= own_rank || greeting.rank >= static_cast<int>(links.size())) continue;
    UniqueFd& link = links[static_cast<std::size_t>(greeting.rank)];
    if (!link.is_open()) link = std::move(accepted).value();
  }
}

// The first rank that `links` lacks within [first, last), or -1.
int first_missing(const std::vector<UniqueFd>& links, int first, int last) {
  for (int rank = first; rank < last; ++rank) {
    if (!links[static_cast<std::size_t>(rank)].is_open()) return rank;
  }
  return -1;
}

// Every rank tells whether it lacks a peer, and why; all come to the verdict of the lowest rank that does.
Status agree(Transport& bootstrap, int missing_peer, const std::string& why,
             const std::vector<Contact>& contacts, Deadline deadline) {
  ByteWriter mine;
  mine.put(static_cast<std::int32_t>(missing_peer));
  mine.put_text(why);
  std::vector<Bytes> all;
  HVD_RETURN_IF_ERROR(bootstrap.all_gather(mine.bytes(), all, deadline));
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    ByteReader in(all[rank]);
    const auto peer = in.get<std::int32_t>();
    const std::string reason = in.get_text();
    if (!in.failed() && peer < 0) continue;
    const auto peer_index = static_cast<std::size_t>(peer);
    const bool is_known = !in.failed() && peer_index < contacts.size();
    const bool is_other_host = is_known && contacts[rank].host != contacts[peer_index].host;
    return Status::unavailable(text("shared memory: rank ", rank, " cannot reach rank ", peer,
                                    " over a local socket (",
                                    is_other_host ? "they are on different hosts; " : "", reason, ")"));
  }
  return {};
}

}  // namespace

Result<std::vector<UniqueFd>> connect_local_mesh(Transport& bootstrap, Deadline deadline) {
  const int rank = bootstrap.rank();
  const int size = bootstrap.size();
  auto listener = open_listener();

  Contact mine;
  if (listener.is_ok()) {
    mine.address = listener->address;
    mine.secret = listener->secret;
  } else {
    mine.trouble = listener.status().message();
  }
  mine.host = host_identity();
  std::vector<Bytes> all;
  HVD_RETURN_IF_ERROR(bootstrap.all_gather(encode(mine), all, deadline));
  std::vector<Contact> contacts;
  for (const Bytes& bytes : all) {
    auto contact = decode_contact(bytes);
    // Every rank reads the same bytes and stops here.
    if (!contact.is_ok()) return contact.status();
    contacts.push_back(std::move(contact).value());
  }

  std::vector<UniqueFd> links(static_cast<std::size_t>(size));
  std::string why;
  for (int peer = 0; peer < rank && why.empty(); ++peer) {
    auto link = connect_to(contacts[static_cast<std::size_t>(peer)], rank);
    if (link.is_ok()) {
      links[static_cast<std::size_t>(peer)] = std::move(link).value();
    } else {
      why = link.status().message();
    }
  }
  HVD_RETURN_IF_ERROR(agree(bootstrap, first_missing(links, 0, rank), why, contacts, deadline));

  if (listener.is_ok()) accept_greeted(listener.value(), rank, links);
  HVD_RETURN_IF_ERROR(agree(bootstrap, first_missing(links, rank + 1, size),
                            "its connection led to somebody else: another host or network namespace",
                            contacts, deadline));
  return links;
}

}  // namespace hvd
