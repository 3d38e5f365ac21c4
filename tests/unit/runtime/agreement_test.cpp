// Ranks whose settings differ learn of all differences, on every rank.
#include "bindings/runtime/agreement.h"

#include <gtest/gtest.h>

#include "horovod_cpp/transport/inproc/inproc.h"
#include "tests/harness/run_ranks.h"

namespace hvd {
namespace {

Deadline in_time() { return Deadline::after(std::chrono::minutes(1)); }

std::vector<std::string> verdicts(int n, const std::function<Status(Transport&)>& body) {
  auto transports = make_inproc_transports(n);
  std::vector<std::string> out(static_cast<std::size_t>(n));
  run_ranks(n, [&](RankScope& scope) {
    const auto rank = static_cast<std::size_t>(scope.rank());
    scope.guard(*transports[rank]);
    out[rank] = body(*transports[rank]).message();
  });
  return out;
}

TEST(Agreement, IsSilentIfAllAreAlike) {
  for (const auto& verdict :
       verdicts(3, [](Transport& t) { return agree_on_settings(t, Config{}, in_time()); })) {
    EXPECT_EQ(verdict, "");
  }
}

TEST(Agreement, TellsEveryDifferenceOnEveryRank) {
  const auto all = verdicts(3, [](Transport& transport) {
    Config config;
    if (transport.rank() == 1) config.control = "tcp";
    if (transport.rank() == 2) config.fusion_threshold_bytes = 7;
    return agree_on_settings(transport, config, in_time());
  });
  for (const auto& verdict : all) {
    EXPECT_NE(verdict.find("HVD_CONTROL: rank 0 has auto, rank 1 has tcp, rank 2 has auto"),
              std::string::npos)
        << verdict;
    EXPECT_NE(verdict.find("HVD_FUSION_THRESHOLD: rank 0 has 134217728, rank 1 has 134217728, rank 2 has 7"),
              std::string::npos)
        << verdict;
    EXPECT_EQ(verdict.find("HVD_CPU_OPERATIONS"), std::string::npos) << verdict;
  }
}

// Another version may say more, or less, after its number.
TEST(Agreement, AnotherVersionIsNamedAndNothingElse) {
  const auto all = verdicts(2, [](Transport& transport) -> Status {
    if (transport.rank() == 0) return agree_on_settings(transport, Config{}, in_time());
    ByteWriter out;
    out.put_text("9.8.7");
    std::vector<Bytes> ignored;
    return transport.all_gather(out.bytes(), ignored, in_time());
  });
  EXPECT_NE(all[0].find("the version of horovod_cpp: rank 0 has " HVD_VERSION ", rank 1 has 9.8.7. "),
            std::string::npos)
      << all[0];
  EXPECT_EQ(all[0].find("HVD_CONTROL"), std::string::npos) << all[0];
}

TEST(Agreement, AFailureOnOneRankIsToldOnAll) {
  for (const auto& verdict : verdicts(3, [](Transport& transport) {
         return agree(transport, transport.rank() == 1 ? Status::unavailable("no memory") : Status{},
                      in_time());
       })) {
    EXPECT_EQ(verdict, "rank 1: no memory");
  }
}

}  // namespace
}  // namespace hvd
