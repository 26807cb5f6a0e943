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
  if (!(xx > 0 && determinant > 0)) {  // too thin for its float conic to be an ellipse: every row of the box is looked at
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
  const double right_row = std::clamp(side_, low, high), left_row = std::clamp(-side_, low, high);
  const double right = x + slope * right_row + std::sqrt(std::max(0.0, reach + shrink * right_row * right_row));
  const double left = x + slope * left_row - std::sqrt(std::max(0.0, reach + shrink * left_row * left_row));
  // Clamped before the conversion, which is undefined beyond int.
  const int first = int(std::floor(std::clamp(std::ceil(left) / kTile, double(listed.first), double(listed.last))));
  const int last = int(std::floor(std::clamp(std::floor(right) / kTile + 1, double(listed.first), double(listed.last))));
  return {first, last};
}

}  // namespace moegs
