// The handwritten digits that the digits example learns. Knows no tensors.
//
// Source: UCI "Optical Recognition of Handwritten Digits", the test set, as shipped with scikit-learn (BSD):
// 1,797 images of 8 × 8 pixels from 0 to 16. `./dev build` unpacks it to build/data/digits.csv: 64 pixels and
// the label on each line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace digits {

inline constexpr std::int64_t kSide = 8;
inline constexpr std::int64_t kPixels = kSide * kSide;
inline constexpr std::int64_t kClasses = 10;

struct Images {
  std::vector<float> pixels;         // [count][kSide][kSide], from 0 to 1
  std::vector<std::int64_t> labels;  // [count], from 0 to 9
  std::int64_t count() const { return static_cast<std::int64_t>(labels.size()); }
};

struct Split {
  Images train;
  Images test;
};

// <folder of this program>/../data/digits.csv
std::filesystem::path default_data_file();

// The same split on every call: the images are shuffled and the last 297 are the test set. Throws
// std::runtime_error that says what to do if the file is missing or is something else.
Split load(const std::filesystem::path& file);

}  // namespace digits
