// Every parser on its seeds, on the corpus, and on random changes of both, in every build.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "horovod_cpp/base/text.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/largest_allocation.h"
#include "tests/harness/seed.h"

namespace hvd {
namespace {

namespace fs = std::filesystem;

// More than any parser may take for an input of a few kilobytes, whatever that announces.
constexpr std::size_t kMostBytesAtOnce = std::size_t{4} << 20U;

std::string printable(FuzzInput input) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const std::byte byte : input) {
    const auto value = static_cast<unsigned char>(byte);
    if (value >= 0x20 && value < 0x7f && value != '\\' && value != '"') {
      out += static_cast<char>(value);
    } else {
      out += text("\\x", kDigits[value >> 4], kDigits[value & 15]);
    }
  }
  return out;
}

void run(const FuzzTarget& target, FuzzInput input) {
  try {
    forget_largest_allocation();
    target.run(input);
    const std::size_t largest = largest_allocation();
    if (largest > kMostBytesAtOnce)
      ADD_FAILURE() << "took " << largest << " bytes at once for " << printable(input);
  } catch (const std::exception& error) {
    ADD_FAILURE() << error.what() << ", for \"" << printable(input) << '"';
  }
}

std::vector<Bytes> inputs_of(const FuzzTarget& target) {
  std::vector<Bytes> inputs = target.seeds();
  std::error_code no_folder;
  for (const auto& entry : fs::directory_iterator(fs::path(HVD_TEST_CORPUS) / target.name, no_folder)) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string words{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    inputs.push_back(bytes_of_text(words));
  }
  inputs.emplace_back();
  return inputs;
}

using Random = std::mt19937_64;

std::size_t below(Random& random, std::size_t limit) { return limit == 0 ? 0 : random() % limit; }

// One small change. `other`: another input, to take pieces from.
void change(Bytes& input, const Bytes& other, Random& random) {
  constexpr std::uint64_t kNumbers[] = {
      0, 1, 2, 127, 255, 256, 65535, 0x7fffffff, 0x80000000, 0xffffffff, ~std::uint64_t{0}};
  const std::size_t at = below(random, input.size() + 1);
  const auto here = input.begin() + static_cast<std::ptrdiff_t>(at);
  const std::size_t left = input.size() - at;
  switch (random() % 8) {
    case 0:
      if (left > 0) *here ^= std::byte{1} << below(random, 8);
      return;
    case 1:
      if (left > 0) *here = static_cast<std::byte>(random());
      return;
    case 2:
      input.insert(here, static_cast<std::byte>(random()));
      return;
    case 3:
      input.erase(here,
                  here + static_cast<std::ptrdiff_t>(below(random, std::min<std::size_t>(left, 16) + 1)));
      return;
    case 4:
      input.resize(at);
      return;
    case 5: {  // a length, or a count
      const std::uint64_t number = kNumbers[below(random, std::size(kNumbers))];
      const std::size_t bytes = std::min<std::size_t>(left, std::size_t{1} << below(random, 4));
      if (bytes > 0) std::memcpy(input.data() + at, &number, bytes);
      return;
    }
    default: {
      const std::size_t from = below(random, other.size() + 1);
      const std::size_t bytes = below(random, std::min<std::size_t>(other.size() - from, 64) + 1);
      const Bytes piece(other.begin() + static_cast<std::ptrdiff_t>(from),
                        other.begin() + static_cast<std::ptrdiff_t>(from + bytes));
      input.insert(here, piece.begin(), piece.end());
      return;
    }
  }
}

class Parsers : public ::testing::TestWithParam<FuzzTarget> {};

TEST_P(Parsers, BearAnything) {
  const std::vector<Bytes> inputs = inputs_of(GetParam());
  for (const Bytes& input : inputs) run(GetParam(), input);
  with_a_seed([&](std::uint64_t seed) {
    Random random(seed);
    for (int round = test_rounds(400, 50'000); round > 0 && !HasFailure(); --round) {
      Bytes input = inputs[below(random, inputs.size())];
      for (std::size_t changes = 1 + below(random, 6); changes > 0; --changes)
        change(input, inputs[below(random, inputs.size())], random);
      run(GetParam(), input);
    }
  });
}

INSTANTIATE_TEST_SUITE_P(All, Parsers, ::testing::ValuesIn(fuzz_targets().begin(), fuzz_targets().end()),
                         [](const auto& about) { return std::string(about.param.name); });

TEST(Corpus, HasNoFolderWithoutATarget) {
  for (const auto& entry : fs::directory_iterator(HVD_TEST_CORPUS)) {
    if (!entry.is_directory()) continue;
    EXPECT_NE(find_fuzz_target(entry.path().filename()), nullptr) << entry.path();
  }
}

// The tests above can fail.
TEST(Replay, FindsWhatIsWrong) {
  EXPECT_THROW(require(false, "wrong"), std::logic_error);
  forget_largest_allocation();
  const std::vector<char> giant(kMostBytesAtOnce + 1);
  if (counts_allocations()) {
    EXPECT_GT(largest_allocation(), kMostBytesAtOnce) << giant.size();
  }
}

}  // namespace
}  // namespace hvd
