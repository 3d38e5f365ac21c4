// What the examples learn, and which rank looks at what. Needs no ranks and no torch.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <stdexcept>

#include "examples/char_gpt_text.h"
#include "examples/digits_data.h"
#include "examples/shared/sampling.h"
#include "tests/harness/temp_folder.h"

namespace hvd {
namespace {

namespace fs = std::filesystem;

TEST(Sampling, PartsCoverEverythingOnce) {
  for (const std::int64_t count : {0, 1, 7, 64, 297}) {
    for (int size = 1; size <= 8; ++size) {
      std::int64_t next = 0;
      for (int rank = 0; rank < size; ++rank) {
        const auto part = examples::part_of(count, rank, size);
        EXPECT_EQ(part.begin, next);
        EXPECT_LE(std::abs((part.end - part.begin) - count / size), 1);
        next = part.end;
      }
      EXPECT_EQ(next, count);
    }
  }
}

TEST(Sampling, OrdersArePermutationsThatDifferByEpochAndSeed) {
  const auto order = examples::shuffled_indices(1500, 1, 0);
  auto sorted = order;
  std::sort(sorted.begin(), sorted.end());
  std::vector<std::int64_t> all(1500);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(sorted, all);
  EXPECT_EQ(order, examples::shuffled_indices(1500, 1, 0));
  EXPECT_NE(order, examples::shuffled_indices(1500, 1, 1));
  EXPECT_NE(order, examples::shuffled_indices(1500, 2, 0));
}

TEST(Sampling, PositionsReachBothEndsAndDifferByStepAndSeed) {
  const auto positions = examples::random_positions(1000, 10, 1, 0);
  ASSERT_EQ(positions.size(), 1000);
  EXPECT_EQ(*std::min_element(positions.begin(), positions.end()), 0);
  EXPECT_EQ(*std::max_element(positions.begin(), positions.end()), 9);
  EXPECT_EQ(positions, examples::random_positions(1000, 10, 1, 0));
  EXPECT_NE(positions, examples::random_positions(1000, 10, 1, 1));
  EXPECT_NE(positions, examples::random_positions(1000, 10, 2, 0));
}

TEST(DigitsData, MissingFileSaysWhatToDo) {
  try {
    digits::load("/nowhere/digits.csv");
    FAIL() << "no exception";
  } catch (const std::runtime_error& error) {
    EXPECT_NE(std::string(error.what()).find("./dev build"), std::string::npos) << error.what();
  }
}

// A file system of its own.
class CharGptText : public testing::Test {
 protected:
  fs::path write(const std::string& name, std::size_t bytes, char character = 'a') const {
    const fs::path file = root_ / name;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << std::string(bytes, character);
    return file;
  }

  const TempFolder folder_;
  const fs::path root_ = folder_.path();
};

TEST_F(CharGptText, IsThereOnThisMachine) {
  const auto text = char_gpt::read_text(char_gpt::default_text_files());
  EXPECT_GE(text.size(), 100'000);
  EXPECT_LT(char_gpt::Vocabulary(text).size(), 256);
}

TEST_F(CharGptText, LicencesComeFirstInTheOrderOfTheirNamesAndEachOnce) {
  const auto second = write("usr/share/common-licenses/GPL-3", 60'000);
  const auto first = write("usr/share/common-licenses/Apache", 60'000);
  fs::create_symlink("GPL-3", root_ / "usr/share/common-licenses/GPL");
  write("usr/lib/python3.11/os.py", 200'000);
  EXPECT_EQ(char_gpt::default_text_files(root_), (std::vector{first, second}));
}

TEST_F(CharGptText, IsPythonsWhereLicencesAreTooFew) {
  write("usr/share/common-licenses/BSD", 1'000);
  write("usr/lib/python3.11/data.bin", 200'000);
  const auto library = write("usr/local/lib/python3.12/os.py", 60'000);
  const auto documentation = write("usr/local/lib/python3.12/pydoc_data/topics.py", 60'000);
  EXPECT_EQ(char_gpt::default_text_files(root_), (std::vector{documentation, library}));
}

TEST_F(CharGptText, SaysWhereItWasLookedForIfThereIsNone) {
  try {
    char_gpt::default_text_files(root_);
    FAIL() << "no exception";
  } catch (const std::runtime_error& error) {
    const std::string message = error.what();
    for (const auto* const part :
         {"usr/share/common-licenses", "usr/lib/python3", "usr/local/lib/python3", "--text"}) {
      EXPECT_NE(message.find(part), std::string::npos) << message;
    }
  }
}

TEST_F(CharGptText, IsReadFileAfterFile) {
  const auto a = write("a", 2, 'x');
  const auto b = write("b", 1, 'y');
  const auto feed = write("c", 5, '\f');
  EXPECT_EQ(char_gpt::read_text({b, feed, a}), "yxx");
  EXPECT_THROW(char_gpt::read_text({a, root_ / "none"}), std::runtime_error);
  EXPECT_THROW(char_gpt::read_text({root_}), std::runtime_error);
}

TEST_F(CharGptText, NumbersStandForItsCharacters) {
  const std::string text = "to be\xff";
  const char_gpt::Vocabulary vocabulary(text);
  EXPECT_EQ(vocabulary.characters(), " beot\xff");
  EXPECT_FALSE(vocabulary.contains('x'));
  std::string decoded;
  for (const auto number : vocabulary.encode(text)) decoded += vocabulary.decode(number);
  EXPECT_EQ(decoded, text);
}

}  // namespace
}  // namespace hvd
