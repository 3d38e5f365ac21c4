#include "tests/bench/rank_api.h"

#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "tests/bench/gradients.h"
#include "tests/bench/rank.h"

namespace hvd::bench {
namespace {

// The one rank of this process, and what its calls have said last.
struct Told {
  std::optional<Rank> rank;
  std::string letter;
  std::string complaint;
  std::string title;
  std::optional<std::uint64_t> digest;
};

Told& told() {
  static Told told;
  return told;
}

Status status_of(int result) {
  if (result == hvd_bench_well) return {};
  if (result == hvd_bench_cannot) return Status::unimplemented(told().complaint);
  return Status::aborted(told().complaint);
}

class CalledContender final : public Contender {
 public:
  explicit CalledContender(const HvdBenchCalls& calls) : calls_(calls) {}
  ~CalledContender() override { calls_.drop(); }

  std::string title() const override { return told().title; }
  void fill(int repetition) override { filled_ = status_of(calls_.fill(repetition)); }
  Status run() override { return status_of(calls_.run()); }
  Status verify(int repetition) override {
    HVD_RETURN_IF_ERROR(filled_);
    return status_of(calls_.verify(repetition));
  }
  void give_back() override { calls_.give_back(); }
  std::optional<std::uint64_t> digest() const override { return told().digest; }

 private:
  const HvdBenchCalls& calls_;
  Status filled_;
};

}  // namespace
}  // namespace hvd::bench

using hvd::bench::told;

int hvd_bench_join(int rank, int size) {
  auto joined = hvd::bench::Rank::join({rank, size});
  if (!joined.is_ok()) {
    std::fprintf(stderr, "%s\n", joined.status().message().c_str());
    return 1;
  }
  told().rank.emplace(std::move(joined).value());
  return 0;
}

const char* hvd_bench_pass_on(const char* letter) {
  told().letter = letter;
  return told().rank->pass_on(told().letter).is_ok() ? told().letter.c_str() : nullptr;
}

void hvd_bench_obey(const HvdBenchCalls* calls) {
  told().rank->obey(
      [&](const hvd::bench::Workload& workload) -> hvd::Result<std::unique_ptr<hvd::bench::Contender>> {
        told().digest.reset();
        const int result =
            calls->prepare(workload.name.c_str(), hvd::bench::to_lines(workload.tensors).c_str(),
                           workload.is_step() ? 1 : 0);
        HVD_RETURN_IF_ERROR(hvd::bench::status_of(result));
        return std::unique_ptr<hvd::bench::Contender>(std::make_unique<hvd::bench::CalledContender>(*calls));
      });
}

void hvd_bench_complain(const char* why) { told().complaint = why; }
void hvd_bench_set_title(const char* title) { told().title = title; }
void hvd_bench_set_digest(std::uint64_t digest) { told().digest = digest; }

void hvd_bench_fill(float* values, std::size_t count, std::size_t first, int rank, int repetition) {
  hvd::bench::fill({values, count}, first, rank, repetition);
}

int hvd_bench_verify(const float* values, std::size_t count, std::size_t first, int ranks, int repetition,
                     double factor) {
  const hvd::Status status = hvd::bench::verify({values, count}, first, ranks, repetition, factor);
  if (!status.is_ok()) hvd_bench_complain(status.message().c_str());
  return status.is_ok() ? 0 : 1;
}

void hvd_bench_give_back(float* values, std::size_t count) { hvd::bench::give_back({values, count}); }

std::uint64_t hvd_bench_digest(const float* values, std::size_t count, std::uint64_t of_what_came_before) {
  return hvd::bench::digest({values, count}, of_what_came_before);
}
