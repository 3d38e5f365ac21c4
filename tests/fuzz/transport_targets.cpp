// What other ranks and strangers say on connections between ranks.
#include <algorithm>
#include <cstring>

#include "horovod_cpp/transport/framing/framed_transport.h"
#include "horovod_cpp/transport/framing/messages.h"
#include "horovod_cpp/transport/tcp/handshake.h"
#include "horovod_cpp/transport/tcp/tcp_contact.h"
#include "tests/fuzz/targets.h"

namespace hvd {
namespace {

// Rank 0's end of the lanes to rank 1. What rank 1 sends is given; what it is sent is kept.
class GivenLanes final : public ByteLanes {
 public:
  GivenLanes(Bytes given, std::size_t at_once, Bytes* sent)
      : given_(std::move(given)), at_once_(std::max<std::size_t>(1, at_once)), sent_(sent) {}

  const char* name() const override { return "given"; }
  int rank() const override { return 0; }
  int size() const override { return 2; }
  Result<std::size_t> write_some(int, std::span<const std::byte> first,
                                 std::span<const std::byte> second) override {
    const std::span<const std::byte> now = first.empty() ? second : first;
    const std::size_t taken = std::min(now.size(), at_once_);
    sent_->insert(sent_->end(), now.begin(), now.begin() + static_cast<std::ptrdiff_t>(taken));
    return taken;
  }
  Result<std::size_t> read_some(int, std::span<std::byte> bytes) override {
    const std::size_t taken = std::min({bytes.size(), at_once_, given_.size() - read_});
    if (taken == 0) return Status::aborted("rank 1 is gone");
    std::memcpy(bytes.data(), given_.data() + read_, taken);
    read_ += taken;
    return taken;
  }
  Result<bool> any_readable() override {
    if (read_ == given_.size()) return Status::aborted("rank 1 is gone");
    return true;
  }
  Status sleep(std::span<const int>, std::span<const int>, Deadline) override { return {}; }
  void wake() override {}
  void hang_up(const Status&) override {}

 private:
  Bytes given_;
  std::size_t read_ = 0;
  std::size_t at_once_;
  Bytes* sent_;
};

Bytes message_of(MessageKind kind, FuzzInput payload) {
  ByteWriter out;
  out.put(kind);
  out.put(std::uint32_t{0});
  out.put(static_cast<std::uint64_t>(payload.size()));
  Bytes bytes = out.take();
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

}  // namespace

// How much moves at once, which operations rank 0 calls (a bit each), then what rank 1 sends.
void fuzz_framing(FuzzInput input) {
  ByteReader in(input);
  const auto at_once = in.get<std::uint8_t>();
  const auto calls = in.get<std::uint8_t>();
  const FuzzInput stream = input.last(in.remaining());
  Bytes sent;
  auto transport = make_framed_transport(
      std::make_unique<GivenLanes>(Bytes(stream.begin(), stream.end()), at_once, &sent));
  Bytes read;    // as it must have stood in the stream
  Bytes answer;  // as it must have been sent
  const auto expect = [](Bytes& where, MessageKind kind, FuzzInput payload) {
    const Bytes message = message_of(kind, payload);
    where.insert(where.end(), message.begin(), message.end());
  };
  const auto expect_read = [&](MessageKind kind, FuzzInput payload) {
    const std::size_t at = read.size();
    expect(read, kind, payload);
    require(read.size() <= stream.size(), "more was read than was there");
    // Nobody looks at flags.
    std::memcpy(read.data() + at + 4, stream.data() + at + 4, 4);
  };
  for (int call = 0; call < 8; ++call) {
    const Bytes mine(static_cast<std::size_t>(call) + 1, std::byte{7});
    if (((calls >> call) & 1U) != 0) {
      std::vector<Bytes> all;
      if (!transport->all_gather(mine, all, Deadline::never()).is_ok()) return;
      require(all.size() == 2 && all[0] == mine, "all_gather lost what this rank sent");
      expect_read(MessageKind::all_gather, all[1]);
      expect(answer, MessageKind::all_gather, mine);
    } else {
      Bytes theirs(static_cast<std::size_t>(call) + 3);
      if (!transport->exchange(1, mine, 1, theirs, Deadline::never()).is_ok()) return;
      expect_read(MessageKind::exchange, theirs);
      expect(answer, MessageKind::exchange, mine);
    }
    require(sent == answer, "something else was sent");
    require(std::equal(read.begin(), read.end(), stream.begin()), "what was read is not what came");
  }
}

std::vector<Bytes> framing_seeds() {
  std::vector<Bytes> seeds;
  for (const unsigned calls : {0xffU, 0x00U, 0x5aU}) {
    Bytes seed{std::byte{200}, std::byte{static_cast<unsigned char>(calls)}};
    for (unsigned call = 0; call < 8; ++call) {
      const bool gathers = ((calls >> call) & 1U) != 0;
      const Bytes payload(call + 3, std::byte{1});
      const Bytes message = message_of(gathers ? MessageKind::all_gather : MessageKind::exchange, payload);
      seed.insert(seed.end(), message.begin(), message.end());
    }
    seeds.push_back(seed);
  }
  // Announces as much as it may, and sends little.
  ByteWriter giant;
  giant.put(std::uint8_t{255});
  giant.put(std::uint8_t{255});
  giant.put(MessageKind::all_gather);
  giant.put(std::uint32_t{0});
  giant.put(static_cast<std::uint64_t>(kMaxMessageBytes));
  giant.put_text("and no more");
  seeds.push_back(giant.take());
  return seeds;
}

// The rank that listens, the size of its job, then two greetings: a caller's, and one that somebody answers with.
void fuzz_handshake(FuzzInput input) {
  ByteReader in(input);
  const int size = in.get<std::uint8_t>() % 8 + 1;
  const int rank = in.get<std::uint8_t>() % size;
  const FuzzInput rest = input.last(in.remaining());
  if (rest.size() < 2 * sizeof(Greeting) + sizeof(KeyedHash)) return;
  Greeting caller, other;
  KeyedHash proof{};
  std::memcpy(static_cast<void*>(&caller), rest.data(), sizeof(caller));
  std::memcpy(static_cast<void*>(&other), rest.data() + sizeof(caller), sizeof(other));
  std::memcpy(proof.data(), rest.data() + 2 * sizeof(caller), proof.size());
  for (const LinkPurpose purpose : {LinkPurpose::control, LinkPurpose::data, LinkPurpose::life}) {
    if (!check_greeting(caller, rank, size, purpose).is_ok()) continue;
    require(caller.from >= 0 && caller.from < size && caller.from != rank && caller.to == rank &&
                caller.purpose == purpose,
            "a greeting that makes no sense is good");
  }
  for (const LinkSide side : {LinkSide::connected, LinkSide::accepted}) {
    require(!is_same_hash(proof, prove("a key that is not in the input", side, caller, other)),
            "a proof without the key");
  }
}

std::vector<Bytes> handshake_seeds() {
  std::vector<Bytes> seeds;
  for (const LinkPurpose purpose : {LinkPurpose::control, LinkPurpose::data, LinkPurpose::life}) {
    const auto caller = make_greeting(2, 1, 3, purpose);
    const auto answer = make_greeting(1, 2, 3, purpose);
    if (!caller.is_ok() || !answer.is_ok()) continue;
    ByteWriter out;
    out.put(std::uint8_t{2});
    out.put(std::uint8_t{1});
    Bytes seed = out.take();
    for (const Greeting* greeting : {&caller.value(), &answer.value()}) {
      const auto bytes = std::as_bytes(std::span(greeting, 1));
      seed.insert(seed.end(), bytes.begin(), bytes.end());
    }
    const KeyedHash proof = prove("another key", LinkSide::connected, caller.value(), answer.value());
    seed.insert(seed.end(), proof.begin(), proof.end());
    seeds.push_back(seed);
  }
  return seeds;
}

void fuzz_tcp_contact(FuzzInput input) {
  const auto contact = decode_tcp_contact(input);
  if (!contact.is_ok()) return;
  const Bytes again = encode(contact.value());
  require(std::equal(input.begin(), input.end(), again.begin(), again.end()),
          "what was read is not written alike");
  const TcpContact here{"here", {}};
  const TcpContact same{contact.value().host, {}};
  for (const TcpContact& mine : {here, same}) {
    for (const SocketAddress& address : addresses_to_try(mine, contact.value()))
      require(SocketAddress::parse(address.text()).is_ok(), "an address that is none");
  }
}

std::vector<Bytes> tcp_contact_seeds() {
  return {encode(TcpContact{"boot id", {"10.0.0.1:5", "[fe80::1%2]:6", "[::1]:7", "127.0.0.1:5"}}),
          encode(TcpContact{"", {}}), encode(TcpContact{"host", {"nonsense", ""}})};
}

}  // namespace hvd
