#include "ellipse.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace moegs {
namespace {

constexpr double kLn2 = 0.6931471805599453;
// log2(255), and a hundredth more so that rounding cannot lose a pixel: each pixel tests again.
constexpr double kLevel = 7.994353436858858 + 0.01;

}  // namespace

Ellipse::Ellipse(const float* conic, float log2_opacity) {
  const double xx = conic[0], xy = conic[1], yy = conic[2];
  const double determinant = xx * yy - xy * xy;
  if (!(xx > 0 && determinant > 0)) {  // too thin for its float conic to be an ellipse: all of the box is looked at
    slope = shrink = side_ = 0;
    reach = tallest_ = std::numeric_limits<double>::infinity();
    return;
  }
  slope = -xy / xx;
  shrink = -determinant / (xx * xx);
  reach = 2 * kLn2 * (log2_opacity + kLevel) / xx;
  tallest_ = std::sqrt(reach / -shrink);
  // The right edge slope dy + sqrt(reach + shrink dy^2) is level where slope^2 (reach + shrink dy^2) = shrink^2 dy^2.
  side_ = std::copysign(std::sqrt(slope * slope * reach / (shrink * (shrink - slope * slope))), slope);
}

Columns Ellipse::columns(double x, double y, int tile_row, Columns listed) const {
  const double low = std::max(tile_row * kTile - y, -tallest_);
  const double high = std::min(tile_row * kTile + kTile - 1 - y, tallest_);
  if (low > high) return {0, 0};
  if (std::isinf(reach)) return listed;
  // The edges are convex curves: within a stretch of rows the extreme is at its level point, or at the end next to it.
  const double right_row = std::min(std::max(side_, low), high), left_row = std::min(std::max(-side_, low), high);
  const double right = x + slope * right_row + std::sqrt(std::max(0.0, reach + shrink * right_row * right_row));
  const double left = x + slope * left_row - std::sqrt(std::max(0.0, reach + shrink * left_row * left_row));
  // Pixels [first, last) within the listed tiles; none of them is negative, so conversion rounds down.
  const double begin = listed.first * kTile, end = listed.last * kTile;
  const double first = std::min(std::max(left, begin), end), last = std::min(std::max(right + 1, begin), end);
  const int first_pixel = int(first) + (int(first) < first);
  return {first_pixel / kTile, (int(last) + kTile - 1) / kTile};
}

}  // namespace moegs
