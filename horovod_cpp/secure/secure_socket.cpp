#include "horovod_cpp/secure/secure_socket.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

namespace hvd {
namespace {

// Part of the wire format, as is the cipher suite.
constexpr char kIdentity[] = "horovod_cpp";
constexpr std::array<unsigned char, 2> kCipherSuite{0x13, 0x01};  // TLS_AES_128_GCM_SHA256
constexpr std::size_t kRecordBytes = 16384;
constexpr std::size_t kKeyBytes = 32;
constexpr long kNeverExpiresSeconds = 100L * 365 * 24 * 3600;

struct Free {
  void operator()(SSL* tls) const { ::SSL_free(tls); }
  void operator()(SSL_CTX* context) const { ::SSL_CTX_free(context); }
};

using Key = std::array<unsigned char, kKeyBytes>;

// What the BIO of a socket reads and writes.
struct Wire {
  int fd = -1;
  bool is_closed = false;  // by the other side
  int error = 0;           // errno, if it broke
};

Wire& wire_of(BIO* bio) { return *static_cast<Wire*>(::BIO_get_data(bio)); }

// OpenSSL's own socket BIO would raise SIGPIPE.
int write_bio(BIO* bio, const char* bytes, int length) {
  BIO_clear_retry_flags(bio);
  const Progress progress = send_some(
      wire_of(bio).fd, {reinterpret_cast<const std::byte*>(bytes), static_cast<std::size_t>(length)});
  if (progress.bytes > 0) return static_cast<int>(progress.bytes);
  if (progress.is_open) BIO_set_retry_write(bio);
  wire_of(bio).is_closed = !progress.is_open;
  wire_of(bio).error = progress.error;
  return -1;
}

int read_bio(BIO* bio, char* bytes, int length) {
  BIO_clear_retry_flags(bio);
  const Progress progress =
      receive_some(wire_of(bio).fd, {reinterpret_cast<std::byte*>(bytes), static_cast<std::size_t>(length)});
  if (progress.bytes > 0) return static_cast<int>(progress.bytes);
  if (progress.is_open) BIO_set_retry_read(bio);
  wire_of(bio).is_closed = !progress.is_open;
  wire_of(bio).error = progress.error;
  return progress.is_open ? -1 : 0;
}

long control_bio(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

const BIO_METHOD* socket_method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = ::BIO_meth_new(::BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "hvd socket");
    if (made == nullptr) return made;
    ::BIO_meth_set_write(made, write_bio);
    ::BIO_meth_set_read(made, read_bio);
    ::BIO_meth_set_ctrl(made, control_bio);
    return made;
  }();
  return method;
}

SSL_SESSION* session_of(SSL* tls, const Key& key) {
  const SSL_CIPHER* const cipher = ::SSL_CIPHER_find(tls, kCipherSuite.data());
  SSL_SESSION* const session = ::SSL_SESSION_new();
  if (session == nullptr || cipher == nullptr ||
      ::SSL_SESSION_set1_master_key(session, key.data(), key.size()) != 1 ||
      ::SSL_SESSION_set_cipher(session, cipher) != 1 ||
      ::SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) != 1) {
    ::SSL_SESSION_free(session);
    return nullptr;
  }
  // OpenSSL compares it with the time of day, which may jump in the middle of a handshake.
  ::SSL_SESSION_set_timeout(session, kNeverExpiresSeconds);
  return session;
}

const Key& key_of(SSL* tls) { return *static_cast<const Key*>(SSL_get_app_data(tls)); }

int offer_key(SSL* tls, const EVP_MD*, const unsigned char** id, std::size_t* id_length,
              SSL_SESSION** session) {
  *session = session_of(tls, key_of(tls));
  *id = reinterpret_cast<const unsigned char*>(kIdentity);
  *id_length = sizeof(kIdentity) - 1;
  return *session != nullptr ? 1 : 0;
}

int find_key(SSL* tls, const unsigned char* id, std::size_t id_length, SSL_SESSION** session) {
  *session = nullptr;
  // An unknown identity falls back to certificates; we have none, so that the handshake fails.
  if (id_length != sizeof(kIdentity) - 1 || std::memcmp(id, kIdentity, id_length) != 0) return 1;
  *session = session_of(tls, key_of(tls));
  return *session != nullptr ? 1 : 0;
}

SSL_CTX* make_context() {
  // Sockets may outlive OpenSSL's own clean-up in a program that ends.
  ::OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, nullptr);
  std::unique_ptr<SSL_CTX, Free> context(::SSL_CTX_new(::TLS_method()));
  if (context == nullptr) return nullptr;
  SSL_CTX* const raw = context.get();
  const bool is_set = SSL_CTX_set_min_proto_version(raw, TLS1_3_VERSION) == 1 &&
                      SSL_CTX_set_max_proto_version(raw, TLS1_3_VERSION) == 1 &&
                      ::SSL_CTX_set_ciphersuites(raw, "TLS_AES_128_GCM_SHA256") == 1 &&
                      SSL_CTX_set1_groups_list(raw, "X25519:P-256") == 1 &&
                      ::SSL_CTX_set_num_tickets(raw, 0) == 1;
  if (!is_set) return nullptr;
  ::SSL_CTX_set_options(raw, SSL_OP_NO_TICKET);
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(
      raw, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  ::SSL_CTX_set_psk_use_session_callback(raw, offer_key);
  ::SSL_CTX_set_psk_find_session_callback(raw, find_key);
  return context.release();
}

Status unusable() { return Status::unavailable("OpenSSL cannot do TLS 1.3 with a pre-shared key here"); }

}  // namespace

struct SecureSocket::Tls {
  Key key{};
  Wire wire;
  std::unique_ptr<SSL, Free> state;
  std::vector<std::byte> record;  // header and payload in one record; kept for its capacity
  short wanted = POLLIN;
  bool is_done = false;
  bool is_broken = false;

  ~Tls() { ::OPENSSL_cleanse(key.data(), key.size()); }

  // After a call that gave `result` <= 0: whether it may go on later.
  bool may_go_on(int result) {
    const int error = ::SSL_get_error(state.get(), result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
      wanted = error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
      return true;
    }
    is_broken = true;
    return false;
  }
};

SecureSocket::SecureSocket() = default;
SecureSocket::SecureSocket(UniqueFd socket) : socket_(std::move(socket)) {}
SecureSocket::SecureSocket(SecureSocket&&) noexcept = default;
SecureSocket& SecureSocket::operator=(SecureSocket&&) noexcept = default;
SecureSocket::~SecureSocket() = default;

Result<SecureSocket> SecureSocket::over_tls(UniqueFd socket, Side side, std::span<const std::byte> key) {
  static SSL_CTX* const context = make_context();
  if (context == nullptr || key.size() != kKeyBytes) return unusable();
  ::ERR_clear_error();
  SecureSocket out(std::move(socket));
  out.tls_ = std::make_unique<Tls>();
  std::memcpy(out.tls_->key.data(), key.data(), key.size());
  out.tls_->state.reset(::SSL_new(context));
  SSL* const state = out.tls_->state.get();
  BIO* const bio = socket_method() == nullptr ? nullptr : ::BIO_new(socket_method());
  if (state == nullptr || bio == nullptr) {
    ::BIO_free(bio);
    return unusable();
  }
  out.tls_->wire.fd = out.fd();
  ::BIO_set_data(bio, &out.tls_->wire);
  ::BIO_set_init(bio, 1);
  ::SSL_set_bio(state, bio, bio);
  SSL_set_app_data(state, &out.tls_->key);
  if (side == Side::connects) {
    ::SSL_set_connect_state(state);
    // A server that answers with a certificate instead of the key is not ours.
    ::SSL_set_verify(state, SSL_VERIFY_PEER, nullptr);
  } else {
    ::SSL_set_accept_state(state);
  }
  return out;
}

Result<bool> SecureSocket::handshake() {
  if (!is_secure() || tls_->is_done) return true;
  if (tls_->is_broken) return Status::unavailable("the connection is broken");
  // A failure of somebody else's, left in this thread's queue, would be taken for ours.
  ::ERR_clear_error();
  const int result = ::SSL_do_handshake(tls_->state.get());
  if (result == 1) {
    // By our key, not by anything else.
    if (::SSL_session_reused(tls_->state.get()) != 1) {
      tls_->is_broken = true;
      return Status::unavailable("the other side does not know the job's key");
    }
    tls_->is_done = true;
    return true;
  }
  if (tls_->may_go_on(result)) return false;
  const unsigned long code = ::ERR_peek_error();
  ::ERR_clear_error();
  if (tls_->wire.is_closed) return Status::aborted("the other side closed the connection");
  const char* const reason = code == 0 ? nullptr : ::ERR_reason_error_string(code);
  return Status::unavailable(reason != nullptr ? reason : "OpenSSL gives no reason");
}

short SecureSocket::wanted_events() const {
  if (is_secure()) return tls_->wanted;
  return POLLOUT;
}

Progress SecureSocket::send_some(std::span<const std::byte> first, std::span<const std::byte> second) {
  if (!is_secure()) return hvd::send_some(fd(), first, second);
  if (!tls_->is_done || tls_->is_broken) return {0, false};
  Progress progress;
  while (progress.bytes < first.size() + second.size()) {
    const auto rest = first.subspan(std::min(first.size(), progress.bytes));
    auto more = second.subspan(progress.bytes - (first.size() - rest.size()));
    std::span<const std::byte> record = rest.empty() ? more : rest;
    record = record.first(std::min(record.size(), kRecordBytes));
    if (!rest.empty() && rest.size() < kRecordBytes && !more.empty()) {
      more = more.first(std::min(more.size(), kRecordBytes - rest.size()));
      tls_->record.assign(rest.begin(), rest.end());
      tls_->record.insert(tls_->record.end(), more.begin(), more.end());
      record = tls_->record;
    }
    ::ERR_clear_error();
    const int sent = ::SSL_write(tls_->state.get(), record.data(), static_cast<int>(record.size()));
    if (sent <= 0) {
      progress.is_open = tls_->may_go_on(sent);
      break;
    }
    progress.bytes += static_cast<std::size_t>(sent);
  }
  return progress;
}

Progress SecureSocket::receive_some(std::span<std::byte> bytes) {
  if (!is_secure()) return hvd::receive_some(fd(), bytes);
  if (!tls_->is_done || tls_->is_broken) return {0, false};
  if (bytes.empty()) return {};
  ::ERR_clear_error();
  const int length = static_cast<int>(std::min<std::size_t>(bytes.size(), std::size_t{1} << 30));
  const int got = ::SSL_read(tls_->state.get(), bytes.data(), length);
  if (got > 0) return {static_cast<std::size_t>(got), true};
  // What reading waits for is not what a send that took nothing waits for.
  const short wanted = tls_->wanted;
  const bool is_open = tls_->may_go_on(got);
  tls_->wanted = wanted;
  return {0, is_open, is_open ? 0 : tls_->wire.error};
}

Status SecureSocket::send_all(std::span<const std::byte> bytes, Deadline deadline) {
  while (!bytes.empty()) {
    const Progress progress = send_some(bytes);
    bytes = bytes.subspan(progress.bytes);
    if (!progress.is_open) return Status::aborted("the other side closed the connection");
    if (progress.bytes > 0) continue;
    const auto ready = wait_for_events(fd(), wanted_events(), deadline);
    if (!ready.is_ok()) return ready.status();
    if (!ready.value()) return Status::timed_out("the other side took nothing before the deadline");
  }
  return {};
}

void SecureSocket::end_sending() {
  const bool can_say_so = is_secure() && tls_->is_done && !tls_->is_broken;
  // A second call would wait for the other side's end, and fail over what it still sends.
  if (can_say_so && (::SSL_get_shutdown(tls_->state.get()) & SSL_SENT_SHUTDOWN) == 0) {
    ::ERR_clear_error();
    ::SSL_shutdown(tls_->state.get());
  }
  ::shutdown(fd(), SHUT_WR);
}

std::vector<SecureSocket> plain_sockets(std::vector<UniqueFd> sockets) {
  std::vector<SecureSocket> out;
  for (UniqueFd& socket : sockets) out.emplace_back(std::move(socket));
  return out;
}

Status handshake_until(SecureSocket& socket, Deadline deadline) {
  while (true) {
    const auto done = socket.handshake();
    if (!done.is_ok()) return done.status();
    if (done.value()) return {};
    const auto ready = wait_for_events(socket.fd(), socket.wanted_events(), deadline);
    if (!ready.is_ok()) return ready.status();
    if (!ready.value()) return Status::timed_out("no answer to the TLS handshake before the deadline");
  }
}

}  // namespace hvd
