#include "launcher/line_prefixer.h"

#include <gtest/gtest.h>

#include <random>

namespace hvd::launcher {
namespace {

// The output for `pieces`, fed one after the other, then the end.
std::string prefixed(CarriageReturn returns, const std::vector<std::string>& pieces,
                     std::size_t longest = 1 << 20) {
  LinePrefixer prefixer(returns, longest);
  std::string out;
  for (const auto& piece : pieces) prefixer.append(piece, "[1] ", out);
  prefixer.finish("[1] ", out);
  EXPECT_EQ(prefixer.held_bytes(), 0U);
  return out;
}

TEST(LinePrefixer, PrefixesEachLine) {
  EXPECT_EQ(prefixed(CarriageReturn::newline, {"a\nb\n\nc\n"}), "[1] a\n[1] b\n[1] \n[1] c\n");
  EXPECT_EQ(prefixed(CarriageReturn::newline, {""}), "");
}

TEST(LinePrefixer, HoldsAnUnfinishedLineAndEndsTheLastOne) {
  LinePrefixer prefixer(CarriageReturn::newline);
  std::string out;
  prefixer.append("hel", "[1] ", out);
  EXPECT_EQ(out, "");
  prefixer.append("lo\nbye", "[1] ", out);
  EXPECT_EQ(out, "[1] hello\n");
  prefixer.finish("[1] ", out);
  EXPECT_EQ(out, "[1] hello\n[1] bye\n");
}

TEST(LinePrefixer, BreaksLinesThatAreTooLong) {
  EXPECT_EQ(prefixed(CarriageReturn::newline, {"abcdefgh\nij\n"}, 4), "[1] abcd\n[1] efgh\n[1] ij\n");
  EXPECT_EQ(prefixed(CarriageReturn::newline, {"abcdefghi"}, 4), "[1] abcd\n[1] efgh\n[1] i\n");
  LinePrefixer prefixer(CarriageReturn::newline, 1000);
  std::string out;
  for (int i = 0; i < 1000; ++i) {
    prefixer.append(std::string(777, 'x'), "", out);
    ASSERT_LE(prefixer.held_bytes(), 1000U);
  }
}

TEST(LinePrefixer, KeepsProgressBarsOnATerminal) {
  EXPECT_EQ(prefixed(CarriageReturn::keep, {"\r 1%\r 2%\r 3%\ndone\n"}),
            "\r[1]  1%\r[1]  2%\r[1]  3%\n[1] done\n");
}

TEST(LinePrefixer, TurnsProgressBarsIntoLinesElsewhere) {
  EXPECT_EQ(prefixed(CarriageReturn::newline, {"\r 1%\r 2%\r 3%\ndone\n"}),
            "[1]  1%\n[1]  2%\n[1]  3%\n[1] done\n");
}

TEST(LinePrefixer, TakesReturnNewlineAsOneEnd) {
  for (const auto returns : {CarriageReturn::keep, CarriageReturn::newline}) {
    EXPECT_EQ(prefixed(returns, {"a\r\nb\r\n"}), "[1] a\r\n[1] b\r\n");
    EXPECT_EQ(prefixed(returns, {"a\r", "\nb\r", "\n"}), "[1] a\r\n[1] b\r\n");
  }
  EXPECT_EQ(prefixed(CarriageReturn::newline, {"a\r"}), "[1] a\n");
}

TEST(LinePrefixer, DoesNotDependOnHowTheBytesArrive) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 300; ++round) {
    std::string bytes;
    for (int i = 0; i < 60; ++i) bytes += "ab\r\n"[random() % 4];
    std::vector<std::string> pieces;
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t length = 1 + random() % 7;
      pieces.push_back(bytes.substr(at, length));
      at += length;
    }
    for (const auto returns : {CarriageReturn::keep, CarriageReturn::newline}) {
      ASSERT_EQ(prefixed(returns, pieces, 8), prefixed(returns, {bytes}, 8)) << "round " << round;
    }
  }
}

}  // namespace
}  // namespace hvd::launcher
