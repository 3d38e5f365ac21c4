// Plots as SVG, to stand in a page. Pure. All values are positive: axes are logarithmic.
#pragma once

#include <string>
#include <vector>

namespace hvd::bench {

struct Point {
  double x = 0;
  double y = 0;
};
struct Line {
  std::string name;
  int color = 0;  // any number: the same gives the same
  std::vector<Point> points;
};
std::string plot_of_lines(const std::vector<Line>& lines, const std::string& x_unit,
                          const std::string& y_unit);

struct Bar {
  std::string name;
  int color = 0;
  double value = 0;
  double low = 0;  // of its whisker
  double high = 0;
};
std::string plot_of_bars(const std::vector<Bar>& bars, const std::string& unit);

// For the text of a page.
std::string escaped(const std::string& words);

}  // namespace hvd::bench
