// What ranks tell each other while a world comes up, and where they find its key.
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "bindings/runtime/agreement.h"
#include "horovod_cpp/base/text.h"
#include "horovod_cpp/base/unique_fd.h"
#include "horovod_cpp/secure/job_key.h"
#include "horovod_cpp/transport/shm/local_mesh.h"
#include "tests/fuzz/targets.h"

namespace hvd {
namespace {

// Rank 0 of two. What rank 1 says in each all_gather is given; after the last it is gone.
class GivenAnswers final : public Transport {
 public:
  explicit GivenAnswers(FuzzInput answers) : in_(answers) {}

  const char* name() const override { return "given"; }
  int rank() const override { return 0; }
  int size() const override { return 2; }
  Status exchange(int, std::span<const std::byte>, int, std::span<std::byte>, Deadline) override {
    return Status::aborted("rank 1 is gone");
  }
  Status all_gather(std::span<const std::byte> mine, std::vector<Bytes>& all, Deadline) override {
    const auto theirs = in_.get_bytes();
    if (in_.failed()) return Status::aborted("rank 1 is gone");
    all = {Bytes(mine.begin(), mine.end()), Bytes(theirs.begin(), theirs.end())};
    return {};
  }
  Result<bool> wait(Deadline) override { return false; }
  void notify() override {}
  void abort(const Status&) override {}

 private:
  ByteReader in_;
};

Bytes answers_of(std::initializer_list<Bytes> answers) {
  ByteWriter out;
  for (const Bytes& answer : answers) out.put_bytes(answer);
  return out.take();
}

}  // namespace

void fuzz_agreement(FuzzInput input) {
  GivenAnswers world(input);
  const Status settings = agree_on_settings(world, Config(), Deadline::never());
  require(settings.is_ok() || settings.code() == StatusCode::invalid_argument ||
              settings.code() == StatusCode::aborted,
          "another code");
  for (int i = 0; i < 2; ++i) {
    const Status agreed = agree(world, Status(), Deadline::never());
    require(agreed.is_ok() || name_of(agreed.code()) != nullptr, "a code that there is not");
  }
}

std::vector<Bytes> agreement_seeds() {
  ByteWriter settings, fine, bad;
  for (const char* value : {HVD_VERSION, "auto", "auto", "134217728", "1"}) settings.put_text(value);
  fine.put(std::uint8_t{0});
  fine.put_text("");
  bad.put(static_cast<std::uint8_t>(StatusCode::unavailable));
  bad.put_text("no memory");
  return {answers_of({settings.bytes(), fine.bytes(), bad.bytes()}),
          answers_of({settings.bytes(), bad.bytes()})};
}

// Rank 1 never connects: that is what the last verdict is about.
void fuzz_local_mesh(FuzzInput input) {
  GivenAnswers world(input);
  require(!connect_local_mesh(world, Deadline::never()).is_ok(), "a connection to nobody");
}

std::vector<Bytes> local_mesh_seeds() {
  ByteWriter contact, verdict, trouble;
  contact.put_text(std::string("\0abcde", 6));
  contact.put_text("0123456789abcdef0123456789abcdef");
  contact.put_text("host");
  contact.put_text("");
  verdict.put(std::int32_t{-1});
  verdict.put_text("");
  trouble.put(std::int32_t{0});
  trouble.put_text("cannot connect");
  return {answers_of({contact.bytes(), verdict.bytes(), verdict.bytes()}),
          answers_of({contact.bytes(), trouble.bytes()})};
}

// The number of a descriptor up to the first zero byte, then the content of a key file.
void fuzz_job_key(FuzzInput input) {
  const auto zero = std::find(input.begin(), input.end(), std::byte{0});
  const std::string number = text_of({input.begin(), zero});
  const FuzzInput content = zero == input.end() ? FuzzInput() : FuzzInput(zero + 1, input.end());
  if (!number.empty()) {
    // No descriptor of a process that inherited none is a key.
    require(!read_job_key({number, ""}).is_ok(), "a key out of nothing");
  }
  const UniqueFd file(::memfd_create("hvd fuzzed key", MFD_CLOEXEC));
  require(file.is_open() && ::fchmod(file.get(), 0600) == 0 &&
              ::write(file.get(), content.data(), content.size()) == static_cast<ssize_t>(content.size()),
          "no file");
  const auto key = read_job_key({"", text("/proc/self/fd/", file.get())});
  if (!key.is_ok()) {
    require(key.status().code() == StatusCode::invalid_argument, "another code than invalid_argument");
    return;
  }
  require(!key.value().empty() && key.value().size() <= kMaxJobKeyBytes,
          "a key that is too short or too long");
  require(text_of(content).starts_with(key.value()), "another key than in the file");
}

std::vector<Bytes> job_key_seeds() {
  return {bytes_of_text(std::string("64\0", 3) + "0123456789abcdef\n"),
          bytes_of_text(std::string("-1\0", 3) + std::string(kMaxJobKeyBytes, 'k')),
          bytes_of_text(std::string("0\0", 2) + std::string(kMaxJobKeyBytes + 3, 'k')),
          bytes_of_text(std::string("99999999999999\0\r\n", 17))};
}

}  // namespace hvd
