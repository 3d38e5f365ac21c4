#include "tests/bench/plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <sstream>

#include "horovod_cpp/base/text.h"
#include "tests/bench/report.h"

namespace hvd::bench {
namespace {

constexpr double kWidth = 900;

std::string color_of(int number) {
  // Told apart by most people with any kind of sight; beyond them, hues by the golden angle.
  static constexpr std::array<const char*, 8> kColors{"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                      "#e69f00", "#56b4e9", "#7a5195", "#444444"};
  const auto index = static_cast<std::size_t>(number);
  if (index < kColors.size()) return kColors[index];
  return text("hsl(", std::lround(137.5 * number) % 360, ",60%,40%)");
}

std::string short_number(double value) {
  std::ostringstream out;
  out.precision(3);
  out << value;
  return out.str();
}

// From whole powers of ten around [low, high] to pixels [begin, end].
class Axis {
 public:
  Axis(double low, double high, double begin, double end)
      : first_(std::floor(std::log10(low))),
        last_(std::max(std::ceil(std::log10(high)), first_ + 1)),
        begin_(begin),
        end_(end) {}
  double at(double value) const {
    return begin_ + (std::log10(value) - first_) / (last_ - first_) * (end_ - begin_);
  }
  std::vector<double> ticks() const {
    std::vector<double> values;
    for (int power = static_cast<int>(first_); power <= static_cast<int>(last_); ++power)
      values.push_back(std::pow(10.0, power));
    return values;
  }

 private:
  double first_;
  double last_;
  double begin_;
  double end_;
};

void write_text(std::ostringstream& out, double x, double y, const char* anchor, const std::string& words) {
  out << "<text x='" << x << "' y='" << y << "' text-anchor='" << anchor << "'>" << escaped(words)
      << "</text>";
}

void write_line(std::ostringstream& out, Point from, Point to, const std::string& color, double width) {
  out << "<line x1='" << from.x << "' y1='" << from.y << "' x2='" << to.x << "' y2='" << to.y << "' stroke='"
      << color << "' stroke-width='" << width << "'/>";
}

std::string begin_svg(double height, const std::string& what) {
  return text("<svg viewBox='0 0 ", kWidth, ' ', height, "' role='img' aria-label='", escaped(what), "'>");
}

// Names at the right end of lines, moved apart where they would cover each other.
std::vector<double> apart(std::vector<double> heights) {
  constexpr double kStep = 15;
  std::vector<std::size_t> order(heights.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](auto a, auto b) { return heights[a] < heights[b]; });
  for (std::size_t i = 1; i < order.size(); ++i)
    heights[order[i]] = std::max(heights[order[i]], heights[order[i - 1]] + kStep);
  return heights;
}

}  // namespace

std::string plot_of_lines(const std::vector<Line>& lines, const std::string& x_unit,
                          const std::string& y_unit) {
  constexpr double kHeight = 460, kLeft = 60, kRight = 780, kTop = 15, kBottom = 420;
  double low = 1e300, high = 0, least = 1e300, most = 0;
  std::vector<double> xs;
  for (const Line& line : lines) {
    for (const Point& point : line.points) {
      low = std::min(low, point.y);
      high = std::max(high, point.y);
      least = std::min(least, point.x);
      most = std::max(most, point.x);
      if (std::find(xs.begin(), xs.end(), point.x) == xs.end()) xs.push_back(point.x);
    }
  }
  if (xs.empty()) return {};
  const Axis y_axis(low, high, kBottom, kTop);
  const double span = std::max(std::log(most / least), 1e-9);
  const auto x_at = [&](double x) { return kLeft + std::log(x / least) / span * (kRight - kLeft); };

  std::ostringstream out;
  out << begin_svg(kHeight, text(y_unit, " over ", x_unit));
  for (const double tick : y_axis.ticks()) {
    write_line(out, {kLeft, y_axis.at(tick)}, {kRight, y_axis.at(tick)}, "#e5e5e5", 1);
    write_text(out, kLeft - 6, y_axis.at(tick) + 4, "end", short_number(tick));
  }
  for (const double x : xs)
    write_text(out, x_at(x), kBottom + 18, "middle", bytes_in_words(static_cast<std::size_t>(x)));
  write_text(out, kLeft - 6, kHeight - 8, "end", y_unit);
  std::vector<double> ends;
  for (const Line& line : lines) {
    const std::string color = color_of(line.color);
    out << "<polyline fill='none' stroke-width='2' stroke='" << color << "' points='";
    for (const Point& point : line.points) out << x_at(point.x) << ',' << y_axis.at(point.y) << ' ';
    out << "'/>";
    for (const Point& point : line.points) {
      out << "<circle r='3.5' fill='" << color << "' cx='" << x_at(point.x) << "' cy='" << y_axis.at(point.y)
          << "'><title>" << escaped(line.name) << ": " << short_number(point.y) << ' ' << escaped(y_unit)
          << "</title></circle>";
    }
    ends.push_back(y_axis.at(line.points.back().y));
  }
  ends = apart(ends);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    write_line(out, {kRight + 2, y_axis.at(lines[i].points.back().y)}, {kRight + 14, ends[i]},
               color_of(lines[i].color), 1);
    write_text(out, kRight + 18, ends[i] + 4, "start", lines[i].name);
  }
  out << "</svg>";
  return out.str();
}

std::string plot_of_bars(const std::vector<Bar>& bars, const std::string& unit) {
  constexpr double kLeft = 110, kRight = 780, kStep = 24;
  if (bars.empty()) return {};
  double low = 1e300, high = 0;
  for (const Bar& bar : bars) {
    low = std::min(low, bar.low);
    high = std::max(high, bar.high);
  }
  const double bottom = kStep * static_cast<double>(bars.size()) + 6;
  const Axis axis(low / 1.5, high, kLeft, kRight);
  std::ostringstream out;
  out << begin_svg(bottom + 24, "median " + unit);
  for (const double tick : axis.ticks()) {
    write_line(out, {axis.at(tick), 0}, {axis.at(tick), bottom}, "#e5e5e5", 1);
    write_text(out, axis.at(tick), bottom + 16, "middle", text(short_number(tick), ' ', unit));
  }
  double y = 4;
  for (const Bar& bar : bars) {
    const double middle = y + 8;
    out << "<rect x='" << kLeft << "' y='" << y << "' height='16' width='" << axis.at(bar.value) - kLeft
        << "' fill='" << color_of(bar.color) << "' fill-opacity='.75'/>";
    write_line(out, {axis.at(bar.low), middle}, {axis.at(bar.high), middle}, "#222", 1.5);
    write_text(out, kLeft - 8, middle + 4, "end", bar.name);
    write_text(out, axis.at(bar.high) + 8, middle + 4, "start", text(short_number(bar.value), ' ', unit));
    y += kStep;
  }
  out << "</svg>";
  return out.str();
}

std::string escaped(const std::string& words) {
  std::string out;
  for (const char letter : words) {
    switch (letter) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += letter;
    }
  }
  return out;
}

}  // namespace hvd::bench
