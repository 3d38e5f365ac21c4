// Adasum over a ring of threads against its definition, tensor by tensor, in plain loops.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "horovod_cpp/transport/inproc/inproc.h"
#include "ops/host/adasum.h"
#include "ops/host/ring_collectives.h"
#include "tests/harness/run_ranks.h"

namespace hvd {
namespace {

using Vector = std::vector<double>;

Deadline patience() { return Deadline::after(std::chrono::seconds(60)); }

Vector adasum_of_two(const Vector& a, const Vector& b) {
  double aa = 0;
  double ab = 0;
  double bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    aa += a[i] * a[i];
    ab += a[i] * b[i];
    bb += b[i] * b[i];
  }
  Vector out(a.size());
  for (std::size_t i = 0; i < a.size(); ++i)
    out[i] = (aa == 0 ? 1 : 1 - ab / 2 / aa) * a[i] + (bb == 0 ? 1 : 1 - ab / 2 / bb) * b[i];
  return out;
}

Vector adasum_of(std::vector<Vector> all) {
  while (all.size() > 1) {
    std::vector<Vector> next;
    for (std::size_t i = 0; i < all.size(); i += 2)
      next.push_back(i + 1 < all.size() ? adasum_of_two(all[i], all[i + 1]) : all[i]);
    all = std::move(next);
  }
  return all.front();
}

// A pure function; whole numbers that every type holds. Rank 2 has zeros.
double value_of(int rank, std::size_t tensor, std::size_t index) {
  if (rank == 2) return 0;
  return static_cast<double>((static_cast<std::size_t>(rank) * 5 + tensor * 3 + index * 7) % 9) - 4;
}

template <class T>
std::vector<std::vector<T>> run_adasum(Collectives& collectives, DataType dtype, double scale, int rank,
                                       const std::vector<std::size_t>& counts, T (*encode)(double)) {
  std::vector<std::vector<T>> tensors;
  std::vector<TensorSlice> slices;
  for (std::size_t tensor = 0; tensor < counts.size(); ++tensor) {
    auto& values = tensors.emplace_back();
    for (std::size_t i = 0; i < counts[tensor]; ++i) values.push_back(encode(value_of(rank, tensor, i)));
  }
  for (auto& values : tensors) slices.push_back({values.data(), values.data(), values.size()});
  const auto done = collectives.allreduce(
      {.slices = slices, .dtype = dtype, .op = ReduceOp::adasum, .scale = scale, .deadline = patience()});
  EXPECT_TRUE(done.is_ok()) << done.status().message();
  return tensors;
}

// bfloat16: the upper half of a float32. The numbers here need no rounding when they are encoded.
std::uint16_t to_bfloat16(double value) {
  const auto narrow = static_cast<float>(value);
  std::uint32_t bits = 0;
  std::memcpy(&bits, &narrow, sizeof(bits));
  return static_cast<std::uint16_t>(bits >> 16U);
}
double from_bfloat16(std::uint16_t half) {
  const std::uint32_t bits = std::uint32_t{half} << 16U;
  float value = 0;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

class AdasumOfRanks : public testing::TestWithParam<int> {};

TEST_P(AdasumOfRanks, IsWhatThePaperSays) {
  const int n = GetParam();
  const std::vector<std::size_t> counts{1, 0, 1000, 3, 31};
  std::vector<Vector> expected;
  for (std::size_t tensor = 0; tensor < counts.size(); ++tensor) {
    std::vector<Vector> inputs;
    for (int rank = 0; rank < n; ++rank) {
      inputs.emplace_back();
      for (std::size_t i = 0; i < counts[tensor]; ++i) inputs.back().push_back(value_of(rank, tensor, i));
    }
    expected.push_back(adasum_of(inputs));
  }
  const auto transports = make_inproc_transports(n);
  std::vector<std::unique_ptr<Collectives>> ends(static_cast<std::size_t>(n));
  std::vector<std::vector<std::vector<float>>> singles(static_cast<std::size_t>(n));
  run_ranks(n, [&](RankScope& scope) {
    const auto self = static_cast<std::size_t>(scope.rank());
    ends[self] = with_adasum(make_ring_collectives(*transports[self]), scope.rank(), n);
    Collectives& collectives = *ends[self];
    scope.guard(collectives);
    const auto doubles = run_adasum<double>(collectives, DataType::float64, 1.0, scope.rank(), counts,
                                            [](double value) { return value; });
    singles[self] = run_adasum<float>(collectives, DataType::float32, -0.5, scope.rank(), counts,
                                      [](double value) { return static_cast<float>(value); });
    const auto halves =
        run_adasum<std::uint16_t>(collectives, DataType::bfloat16, 1.0, scope.rank(), counts, to_bfloat16);
    for (std::size_t tensor = 0; tensor < counts.size(); ++tensor) {
      for (std::size_t i = 0; i < counts[tensor]; ++i) {
        const double right = expected[tensor][i];
        ASSERT_NEAR(doubles[tensor][i], right, 1e-12 * (1 + std::abs(right)));
        ASSERT_NEAR(static_cast<double>(singles[self][tensor][i]), -0.5 * right,
                    1e-6 * (1 + std::abs(right)));
        ASSERT_NEAR(from_bfloat16(halves[tensor][i]), right, 0.005 * std::abs(right) + 1e-9);
      }
    }
  });
  for (const auto& one : singles) EXPECT_EQ(one, singles.front()) << "the ranks' bits differ";
}

TEST_P(AdasumOfRanks, SubgroupsHaveItToo) {
  const int n = GetParam();
  const auto transports = make_inproc_transports(n);
  run_ranks(n, [&](RankScope& scope) {
    const auto collectives = with_adasum(
        make_ring_collectives(*transports[static_cast<std::size_t>(scope.rank())]), scope.rank(), n);
    const PortGuard guarded = scope.guard_local(*collectives);
    const std::vector<int> members{n - 1};
    auto group = collectives->subgroup(members, patience());
    ASSERT_TRUE(group.is_ok());
    ASSERT_EQ(*group != nullptr, scope.rank() == n - 1);
    if (*group != nullptr) {
      const auto same =
          run_adasum<double>(**group, DataType::float64, 2.0, 1, {3}, [](double v) { return v; });
      EXPECT_EQ(same.front(), (Vector{2 * value_of(1, 0, 0), 2 * value_of(1, 0, 1), 2 * value_of(1, 0, 2)}));
    }
    ASSERT_TRUE(collectives->barrier(patience()).is_ok());
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, AdasumOfRanks, testing::Values(1, 2, 3, 4, 5, 7, 8));

TEST(Adasum, IsOfFloatingTypesAndAllreduces) {
  const auto transports = make_inproc_transports(1);
  const auto collectives = with_adasum(make_ring_collectives(*transports.front()), 0, 1);
  EXPECT_TRUE(collectives->supports(OpKind::allreduce, DataType::float8_e4m3, ReduceOp::adasum));
  EXPECT_FALSE(collectives->supports(OpKind::allreduce, DataType::int32, ReduceOp::adasum));
  EXPECT_FALSE(collectives->supports(OpKind::reducescatter, DataType::float32, ReduceOp::adasum));
  EXPECT_TRUE(collectives->supports(OpKind::allreduce, DataType::int32, ReduceOp::sum));
}

}  // namespace
}  // namespace hvd
