// What ranks tell each other in negotiation, and about themselves.
#include <algorithm>
#include <limits>

#include "horovod_cpp/coordinator/fusion_planner.h"
#include "horovod_cpp/coordinator/negotiator.h"
#include "horovod_cpp/coordinator/rank_picture.h"
#include "horovod_cpp/coordinator/report.h"
#include "tests/fuzz/targets.h"

namespace hvd {
namespace {

Declaration declaration_of(const char* name, OpKind kind, Shape shape) {
  Declaration out;
  out.name = name;
  out.kind = kind;
  out.shape = std::move(shape);
  return out;
}

// What a rank sends in its first, second and later steps.
std::vector<Report> sensible_reports() {
  Report first;
  first.declarations = {
      declaration_of("weight", OpKind::allreduce, {2, 3}), declaration_of("rows", OpKind::allgather, {3}),
      declaration_of("mail", OpKind::alltoall, {}), declaration_of("parts", OpKind::reducescatter, {4, 2})};
  first.declarations[0].group = "group";
  first.declarations[0].group_size = 1;
  first.ready = {{true, 0, {}}, {true, 1, {5}}, {true, 2, {1, 2, 3}}, {true, 3, {}}};
  Report second;
  second.declarations = {declaration_of("set", OpKind::add_process_set, {}),
                         declaration_of("go", OpKind::barrier, {}), declaration_of("done", OpKind::join, {}),
                         declaration_of("root", OpKind::broadcast, {1})};
  second.declarations[0].ranks = {0, 2};
  second.ready = {{false, 0, {}}, {true, 0, {}}, {true, 1, {}}, {true, 3, {}}};
  Report third;
  third.declarations = {declaration_of("in the set", OpKind::allreduce, {7}),
                        declaration_of("no set", OpKind::remove_process_set, {})};
  third.declarations[0].process_set = third.declarations[1].process_set = 1;
  third.ready = {{false, 6, {}}, {true, 0, {}}, {true, 1, {}}};
  Report last;
  last.is_leaving = true;
  return {first, second, third, last};
}

constexpr int kRanks = 3;

}  // namespace

void fuzz_report(FuzzInput input) {
  const auto report = decode_report(input);
  if (!report.is_ok()) {
    require(report.status().code() == StatusCode::aborted, "another code than aborted");
    return;
  }
  const Bytes once = encode(report.value());
  const auto again = decode_report(once);
  require(again.is_ok(), "what was encoded is not read again");
  require(encode(again.value()) == once, "what was encoded is read as something else");
  const std::vector<int> all{0, 1, 2};
  std::vector<RankDeclaration> declarations;
  for (const Declaration& declaration : report.value().declarations) {
    declarations.push_back({static_cast<int>(declarations.size()), &declaration});
    static_cast<void>(describe(declaration));
    static_cast<void>(validate(declaration, 1, all));
    static_cast<void>(validate(declaration, {1}, 1, all.size()));
  }
  if (!declarations.empty()) static_cast<void>(check_agreement(declarations));
}

std::vector<Bytes> report_seeds() {
  std::vector<Bytes> seeds;
  for (const Report& report : sensible_reports()) seeds.push_back(encode(report));
  return seeds;
}

// A byte that says whose report comes (3: a round is over), then the report. Ranks that send none send an empty one.
void fuzz_negotiation(FuzzInput input) {
  constexpr int kMostRounds = 32;
  ByteReader in(input);
  Negotiator negotiator(kRanks);
  for (int round = 0; round < kMostRounds && in.remaining() > 0; ++round) {
    std::vector<Report> reports(kRanks);
    while (in.remaining() > 0) {
      const auto rank = in.get<std::uint8_t>() % (kRanks + 1);
      if (rank == kRanks) break;
      auto report = decode_report(in.get_bytes());
      if (in.failed() || !report.is_ok()) return;
      reports[static_cast<std::size_t>(rank)] = std::move(report).value();
    }
    const auto agreed = negotiator.step(reports);
    if (!agreed.is_ok()) {
      require(agreed.status().code() == StatusCode::aborted, "another code than aborted");
      return;
    }
    for (const Batch& batch : plan_fusion(agreed.value(), std::size_t{1} << 20U)) {
      require(!batch.empty() && batch.back() < agreed.value().size(), "a batch of nothing");
    }
    for (const Negotiator::Waiting& one : negotiator.waiting()) {
      require(!one.ready_ranks.empty() && one.ready_ranks.size() + one.missing_ranks.size() <= kRanks,
              "nobody waits for somebody");
      static_cast<void>(describe(*one.declaration));
    }
    if (negotiator.everyone_left()) return;
  }
}

std::vector<Bytes> negotiation_seeds() {
  const auto rounds = [](std::size_t first, std::size_t count, int ranks) {
    ByteWriter out;
    const std::vector<Report> reports = sensible_reports();
    for (std::size_t round = first; round < first + count; ++round) {
      for (int rank = 0; rank < ranks; ++rank) {
        out.put(static_cast<std::uint8_t>(rank));
        out.put_bytes(encode(reports[round]));
      }
      out.put(static_cast<std::uint8_t>(kRanks));
    }
    return out.take();
  };
  return {rounds(0, 1, 3), rounds(0, 2, 3), rounds(0, 4, 3), rounds(0, 1, 2), rounds(3, 1, 1)};
}

void fuzz_picture(FuzzInput input) {
  const auto picture = decode_picture(input);
  if (!picture) return;
  const Bytes once = encode(*picture);
  const auto again = decode_picture(once);
  require(again.has_value(), "what was encoded is not read again");
  require(encode(*again) == once, "what was encoded is read as something else");
  const std::vector<RankSeen> seen{{0, picture, ""}, {1, std::nullopt, "is gone"}, {2, again, ""}};
  static_cast<void>(words_of(seen));
}

std::vector<Bytes> picture_seeds() {
  RankPicture picture;
  picture.steps = 17;
  picture.pending = {{"allreduce 'weight'", {0, 1, 2}, std::chrono::milliseconds(62'000)},
                     {"barrier 'b'", {}, std::chrono::milliseconds(5)}};
  picture.more_pending = 3;
  picture.epochs = {{"gradients", {{1, 2, "layer1"}}, std::chrono::milliseconds(1400)}};
  picture.last = "step 17 ended 3 ms ago";
  return {encode(RankPicture()), encode(picture)};
}

}  // namespace hvd
