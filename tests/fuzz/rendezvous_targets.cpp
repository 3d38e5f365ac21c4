// What comes to the launcher's rendezvous server, and from it.
#include <sys/socket.h>

#include <algorithm>

#include "horovod_cpp/rendezvous/protocol.h"
#include "horovod_cpp/secure/secure_socket.h"
#include "tests/fuzz/targets.h"

namespace hvd {
namespace {

// The messages are this file's vocabulary.
using namespace rendezvous_protocol;  // NOLINT(google-build-using-namespace)

constexpr int kJobSize = 4;

// `input`, on a socket that says nothing more. What does not fit into the socket is cut off.
UniqueFd socket_with(FuzzInput input) {
  int pair[2] = {-1, -1};
  require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0, "no sockets");
  const UniqueFd other(pair[1]);
  static_cast<void>(send_some(other.get(), input));
  return UniqueFd(pair[0]);
}

Bytes body_of(const Bytes& message) { return {message.begin() + 16, message.end()}; }

template <class Encode>
void expect_same_again(const char* what, const Bytes& once, Encode&& again) {
  require(again(body_of(once)) == once, std::string(what) + " is read as something else than was encoded");
}

void read_body(MessageType type, std::span<const std::byte> body) {
  static_cast<void>(decode_reason(body));
  if (type == MessageType::hello) {
    for (const int size : {kJobSize, 1, 1 << 20}) {
      const auto hello = check_hello(body, size);
      if (!hello.is_ok()) continue;
      require(hello.value().rank >= 0 && hello.value().rank < size && hello.value().size == size,
              "a hello that does not fit is good");
      expect_same_again("a hello", encode(hello.value()),
                        [size](const Bytes& again) { return encode(check_hello(again, size).value()); });
    }
  } else if (type == MessageType::progress) {
    const auto attendance = decode_attendance(body);
    if (!attendance.is_ok()) return;
    expect_same_again("an attendance", encode(attendance.value()),
                      [](const Bytes& again) { return encode(decode_attendance(again).value()); });
  } else if (type == MessageType::gathered) {
    const auto gathered = decode_gathered(body, kJobSize);
    if (!gathered.is_ok()) return;
    require(gathered.value().ranks.size() == gathered.value().payloads.size() &&
                gathered.value().ranks.size() <= kJobSize,
            "more ranks than there are");
    expect_same_again("what was gathered", encode(gathered.value()),
                      [](const Bytes& again) { return encode(decode_gathered(again, kJobSize).value()); });
  }
}

}  // namespace

void fuzz_rendezvous(FuzzInput input) {
  SecureSocket socket(socket_with(input));
  MessageReader reader(kMaxHelloBytes);
  for (auto outcome = reader.advance(socket); outcome == MessageReader::Outcome::message;
       outcome = reader.advance(socket)) {
    require(reader.body().size() <= input.size(), "a body that is longer than what came");
    read_body(reader.type(), reader.body());
  }
}

std::vector<Bytes> rendezvous_seeds() {
  Hello hello;
  hello.rank = 1;
  hello.size = kJobSize;
  hello.payload = bytes_of_text("payload");
  Hello alone;
  alone.size = 1;
  alone.after_loss = true;
  Bytes asking = encode(hello);
  for (int i = 0; i < 2; ++i) {
    const Bytes ask = encode_ask();
    asking.insert(asking.end(), ask.begin(), ask.end());
  }
  ByteWriter giant;
  giant.put(kMagic);
  giant.put(MessageType::hello);
  giant.put(~std::uint64_t{0});
  return {asking,
          encode(alone),
          encode(Attendance{{0, 2}, {1}, {3}}),
          encode(Gathered{3, {0, 2, 3}, {bytes_of_text("a"), {}, bytes_of_text("ccc")}}),
          encode_refusal("wrong version"),
          giant.take()};
}

// Which side this is (the first bit), then what the other side says, which does not know the key.
void fuzz_tls(FuzzInput input) {
  if (input.empty()) return;
  const bool accepts = (input[0] & std::byte{1}) == std::byte{0};
  const auto side = accepts ? SecureSocket::Side::accepts : SecureSocket::Side::connects;
  auto socket = SecureSocket::over_tls(socket_with(input.subspan(1)), side, tls_key("the key"));
  require(socket.is_ok(), "no TLS");
  for (int step = 0; step < 3; ++step) {
    const auto done = socket->handshake();
    require(!done.is_ok() || !done.value(), "somebody without the key is let in");
  }
  Bytes scratch(64);
  const Progress progress = socket->receive_some(scratch);
  require(progress.bytes == 0, "bytes of somebody who is not let in");
}

std::vector<Bytes> tls_seeds() {
  std::vector<Bytes> seeds;
  for (const char* key : {"the key", "another key"}) {
    int pair[2] = {-1, -1};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) continue;
    // A client's first words are recorded and repeated; a server's answer to them as well.
    auto client = SecureSocket::over_tls(UniqueFd(pair[0]), SecureSocket::Side::connects, tls_key(key));
    const UniqueFd recorder(pair[1]);
    if (!client.is_ok() || !client->handshake().is_ok()) continue;
    Bytes first(8192);
    first.resize(receive_some(recorder.get(), first).bytes);
    int answering[2] = {-1, -1};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, answering) != 0) continue;
    auto server = SecureSocket::over_tls(UniqueFd(answering[0]), SecureSocket::Side::accepts, tls_key(key));
    const UniqueFd answer_recorder(answering[1]);
    static_cast<void>(send_some(answer_recorder.get(), first));
    if (!server.is_ok() || !server->handshake().is_ok()) continue;
    Bytes answer(8192);
    answer.resize(receive_some(answer_recorder.get(), answer).bytes);
    first.insert(first.begin(), std::byte{0});
    answer.insert(answer.begin(), std::byte{1});
    seeds.push_back(first);
    seeds.push_back(answer);
  }
  seeds.push_back(bytes_of_text("GGET / HTTP/1.1\r\n\r\n"));
  return seeds;
}

}  // namespace hvd
