#include "tests/bench/statistics.h"

#include <algorithm>
#include <cmath>
#include <random>

namespace hvd::bench {

double quantile(std::span<const double> values, double fraction) {
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const double position = fraction * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(std::floor(position));
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], position - static_cast<double>(below));
}

Interval paired_ratio(std::span<const double> numerators, std::span<const double> denominators,
                      std::uint64_t seed) {
  constexpr int kResamples = 10'000;
  std::vector<double> ratios;
  for (std::size_t i = 0; i < numerators.size(); ++i) ratios.push_back(numerators[i] / denominators[i]);

  std::mt19937_64 random(seed);
  std::uniform_int_distribution<std::size_t> pick(0, ratios.size() - 1);
  std::vector<double> medians;
  std::vector<double> resample(ratios.size());
  for (int i = 0; i < kResamples; ++i) {
    for (double& ratio : resample) ratio = ratios[pick(random)];
    medians.push_back(median(resample));
  }
  return {quantile(medians, 0.025), median(ratios), quantile(medians, 0.975)};
}

}  // namespace hvd::bench
