// Projecting the Gaussians of a layer: culling, footprint, tile box, colour.
#pragma once

#include "geometry.h"
#include "spherical_harmonics.h"

namespace moegs::MOEGS_ISA {

// Widens the box of "exact" so that rounding cannot lose a pixel; each pixel tests again. The same as in
// reference/tiles.py.
constexpr double kBoxFactor = 1.001, kBoxMargin = 0.001;
constexpr double kLargestRadius = 2147483520.0;  // largest int32 that a float holds

MOEGS_BOTH bool in_view(const View& view, const double* point, double ndc_x, double ndc_y) {
  const double limit = view.ndc_limit;
  return point[2] > view.near && point[2] <= view.far && ndc_x <= limit && -ndc_x <= limit && ndc_y <= limit &&
         -ndc_y <= limit;
}

// First and last (exclusive) tile along one axis under "inria": the 3-sigma square, short by up to a pixel at its end.
MOEGS_BOTH void square_tiles(float mean, double radius, int size, int32_t* first, int32_t* last) {
  const int count = (size + kTile - 1) / kTile;
  // Conversion truncates towards zero, as the original kernels do.
  *first = int32_t(clamp((mean - radius) / kTile, 0, count));
  *last = int32_t(clamp((mean + radius + kTile - 1) / kTile, 0, count));
}

// The same under "exact": tiles that hold a pixel centre of the image within `reach` of the mean.
MOEGS_BOTH void box_tiles(float mean, double reach, int size, int32_t* first, int32_t* last) {
  const double low = clamp(__builtin_ceil(mean - reach), 0, size);
  const double high = clamp(__builtin_floor(mean + reach), -1, size - 1);
  *first = int32_t(low) / kTile;
  *last = high < low ? *first : int32_t(high) / kTile + 1;
}

// Tiles that the layer's rule lists; false where there are none.
MOEGS_BOTH bool list_tiles(const View& view, const Footprint& footprint, const float* mean, float opacity,
                           double radius, int32_t* tiles) {
  if (view.inria_tiles != 0) {
    square_tiles(mean[0], radius, int(view.width), tiles + 0, tiles + 2);
    square_tiles(mean[1], radius, int(view.height), tiles + 1, tiles + 3);
  } else {
    if (!(opacity >= kLeastAlpha)) return false;
    const double level = 2 * double(__builtin_logf(opacity / kLeastAlpha));
    box_tiles(mean[0], __builtin_sqrt(level * footprint.xx) * kBoxFactor + kBoxMargin, int(view.width), tiles + 0,
              tiles + 2);
    box_tiles(mean[1], __builtin_sqrt(level * footprint.yy) * kBoxFactor + kBoxMargin, int(view.height), tiles + 1,
              tiles + 3);
  }
  return tiles[2] > tiles[0] && tiles[3] > tiles[1];
}

MOEGS_BOTH bool finite(float value) { return __builtin_fabsf(value) <= 3.4028235e38f; }

// Fills row i but for its colour; false where the Gaussian is culled.
MOEGS_BOTH bool project_one(const View& view, const Pinhole& pinhole, const GaussianRow& in, int64_t i,
                            const Projected& out) {
  double point[3];
  camera_point(view, in.mean, point);
  const double over = 1 / (point[2] + kDepthGuard);
  const double ndc_x = (pinhole.x_by_x * point[0] + pinhole.x_by_z * point[2]) * over;
  const double ndc_y = (pinhole.y_by_y * point[1] + pinhole.y_by_z * point[2]) * over;
  if (!in_view(view, point, ndc_x, ndc_y)) return false;

  const Footprint footprint(view, pinhole, point, in.scale, in.quat);
  if (!(footprint.after > 0)) return false;
  float* mean = out.means2d + 2 * i;
  float* conic = out.conics + 4 * i;
  mean[0] = float(((ndc_x + 1) * view.width - 1) / 2);
  mean[1] = float(((ndc_y + 1) * view.height - 1) / 2);
  conic[0] = float(footprint.yy / footprint.after);
  conic[1] = float(-footprint.xy / footprint.after);
  conic[2] = float(footprint.xx / footprint.after);
  conic[3] = view.compensate != 0 ? float(in.opacity * footprint.compensation()) : in.opacity;
  out.depths[i] = float(point[2]);
  const double radius = footprint.radius();
  if (!finite(mean[0]) || !finite(mean[1]) || !finite(conic[0]) || !finite(conic[1]) || !finite(conic[2]) ||
      !finite(out.depths[i]) || !finite(float(footprint.xx)) || !finite(float(footprint.yy)))
    return false;
  if (!list_tiles(view, footprint, mean, conic[3], radius, out.tiles + 4 * i)) return false;
  out.radii[i] = int32_t(radius < kLargestRadius ? radius : kLargestRadius);
  return true;
}

// Row i of a Gaussian that is culled, but for its colour.
MOEGS_BOTH void clear_one(int64_t i, const Projected& out) {
  for (int k = 0; k < 2; ++k) out.means2d[2 * i + k] = 0;
  for (int k = 0; k < 4; ++k) out.conics[4 * i + k] = 0;
  for (int k = 0; k < 4; ++k) out.tiles[4 * i + k] = 0;
  out.depths[i] = 0;
  out.radii[i] = 0;
}

inline void project(const View& view, const Gaussians& in, int64_t begin, int64_t end, const Projected& out) {
  const Pinhole pinhole = pinhole_of(view);
  for (int64_t i = begin; i < end; ++i) {
    const bool seen = project_one(view, pinhole, row_of(in, i), i, out);
    if (!seen) clear_one(i, out);
    if (!in.sh) continue;
    float* colour = out.colours + 3 * i;
    if (seen) {
      sh_colour(view.centre, in.means + 3 * i, in.sh + 3 * in.sh_count * i, in.sh_count, colour);
    } else {
      for (int k = 0; k < 3; ++k) colour[k] = 0;
    }
  }
}

}  // namespace moegs::MOEGS_ISA
