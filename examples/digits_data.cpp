#include "examples/digits_data.h"

#include <charconv>
#include <fstream>
#include <stdexcept>
#include <string>
#include <utility>

#include "examples/shared/sampling.h"

namespace digits {
namespace {

constexpr std::int64_t kTestImages = 297;
constexpr std::uint64_t kSplitSeed = 1797;
constexpr float kBrightest = 16.0F;

// Reads "3,0,…,7": kPixels numbers and the label.
bool read_line(const std::string& line, std::vector<int>& numbers) {
  numbers.clear();
  const char* at = line.data();
  const char* const end = at + line.size();
  while (at < end) {
    int number = 0;
    const auto [after, error] = std::from_chars(at, end, number);
    if (error != std::errc()) return false;
    numbers.push_back(number);
    at = after;
    if (at == end) break;
    if (*at != ',' && *at != '\r') return false;
    ++at;
  }
  return numbers.size() == kPixels + 1 && numbers.back() >= 0 && numbers.back() < kClasses;
}

Images select(const Images& all, const std::vector<std::int64_t>& order, std::int64_t begin,
              std::int64_t end) {
  Images out;
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t from = order[static_cast<std::size_t>(i)];
    const auto first = all.pixels.begin() + from * kPixels;
    out.pixels.insert(out.pixels.end(), first, first + kPixels);
    out.labels.push_back(all.labels[static_cast<std::size_t>(from)]);
  }
  return out;
}

}  // namespace

std::filesystem::path default_data_file() {
  const auto program = std::filesystem::read_symlink("/proc/self/exe");
  return program.parent_path().parent_path() / "data" / "digits.csv";
}

Split load(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in) {
    throw std::runtime_error(
        "cannot read the digits from " + file.string() +
        ". Run ./dev build, which puts them into build/data, or give the file with --data.");
  }
  Images all;
  std::string line;
  std::vector<int> numbers;
  while (std::getline(in, line)) {
    if (line.empty()) continue;
    if (!read_line(line, numbers)) {
      throw std::runtime_error(file.string() + ", line " + std::to_string(all.count() + 1) +
                               ": expected 64 pixels and a label, separated by commas");
    }
    for (std::size_t i = 0; i < kPixels; ++i)
      all.pixels.push_back(static_cast<float>(numbers[i]) / kBrightest);
    all.labels.push_back(numbers.back());
  }
  if (all.count() <= kTestImages) {
    throw std::runtime_error(file.string() + " has only " + std::to_string(all.count()) +
                             " images: it was cut off. Run ./dev build again.");
  }
  const auto order = examples::shuffled_indices(all.count(), kSplitSeed, 0);
  const std::int64_t train = all.count() - kTestImages;
  return {select(all, order, 0, train), select(all, order, train, all.count())};
}

}  // namespace digits
