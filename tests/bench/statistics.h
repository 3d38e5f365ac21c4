// Order statistics of repeated measurements.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace hvd::bench {

// The value below which `fraction` of `values` lie, linearly interpolated. `values` is not empty.
double quantile(std::span<const double> values, double fraction);
inline double median(std::span<const double> values) { return quantile(values, 0.5); }

struct Interval {
  double low = 0;
  double middle = 0;
  double high = 0;
};

// The median of the paired ratios numerators[i] / denominators[i], with its 95 % interval: the percentile
// bootstrap over pairs (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13), 10,000
// resamples. The same seed gives the same interval.
Interval paired_ratio(std::span<const double> numerators, std::span<const double> denominators,
                      std::uint64_t seed);

}  // namespace hvd::bench
