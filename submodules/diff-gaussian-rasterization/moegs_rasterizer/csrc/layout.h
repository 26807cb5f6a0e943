// Plain structs that the parts pass to each other. No PyTorch here: only the files ops_*.cpp know tensors.
#pragma once

#include <cstdint>

namespace moegs {

constexpr int kTile = 16;                      // pixels along a tile's side
constexpr int kTilePixels = kTile * kTile;
constexpr float kLeastAlpha = 1.0f / 255.0f;   // below this a Gaussian is skipped at a pixel (3DGS)
constexpr float kLargestAlpha = 0.99f;         // 3DGS
constexpr float kLeastTransmittance = 1e-4f;   // blending stops before the Gaussian that would go below (3DGS)
constexpr float kEmptyMedianDepth = 15.0f;     // types.py: MEDIAN_DEPTH_OF_EMPTY_PIXELS

// Splatting settings of one layer.
struct ViewSettings {
  double low_pass, near, far, ndc_limit;  // far and ndc_limit are infinite where the settings have none
  double compensate, inria_tiles;         // 0 or 1
};

struct ViewCamera {
  double rotation[9];  // world to camera, row-major
  double translation[3];
  double centre[3];  // of the camera, world units
  double fx, fy, cx, cy, width, height;
};

// Camera and splatting settings of one layer; views.py fills these doubles in this order.
struct View : ViewCamera, ViewSettings {};
constexpr int kViewDoubles = sizeof(View) / sizeof(double);

// What geometry.h makes of a camera once. Normalised device coordinates: ndc_x = (x_by_x x + x_by_z z) / (z + guard),
// likewise y. Limits of x / z and y / z in the Jacobian.
struct Pinhole {
  double x_by_x, x_by_z, y_by_y, y_by_z, limit_x, limit_y;
};

// The Gaussians of a layer, row-major arrays of n rows.
struct Gaussians {
  const float *means, *scales, *quats, *opacities;
  const float* sh;  // [n, sh_count, 3]; null where the colours are given
  int sh_count;     // 1, 4, 9 or 16; without meaning where sh is null
  // Only on a GPU: scales are logarithms, opacities logits, and sh [n, 1, 3] is the first of the coefficients.
  bool raw = false;
  const float* sh_rest = nullptr;  // [n, sh_count - 1, 3], where raw
};

// One of them, activated.
struct GaussianRow {
  const float *mean, *scale, *quat;
  float opacity;
};

// What projecting gives.
struct Projected {
  float* means2d;   // [n, 2] pixels
  float* conics;    // [n, 4] xx, xy, yy of the inverse 2D covariance; effective opacity
  float* colours;   // [n, 3] from sh; null without
  float* depths;    // [n] camera z
  int32_t* radii;   // [n] 3-sigma radius in pixels, 0 where culled
  int32_t* tiles;   // [n, 4] first x, first y, last x, last y (exclusive): tiles the tile rule lists; 0 where culled
};

// Gradients of what projecting gave; null where nothing asked for them.
struct ProjectedGradients {
  const float *means2d, *conics, *colours;
};

struct GaussianGradients {
  float *means, *scales, *quats, *opacities, *sh;  // shaped as in Gaussians; sh null without
  float* sh_rest = nullptr;
};

// A depth-sorted Gaussian as blending reads it, followed by its colour and feature values (stride says how far apart
// records lie). Exponents are scaled for base 2: alpha = 2^(a dx^2 + b dx dy + c dy^2 + log2_opacity).
struct Record {
  float x, y;
  float a, b, c, log2_opacity;
  // Where alpha reaches 1/255 in the row dy: |dx - slope dy|^2 <= reach + shrink dy^2.
  float slope, reach, shrink;
  float depth;
};
constexpr int kRecordFloats = sizeof(Record) / sizeof(float);

enum DepthKind : int { kDepthSum, kDepthMean, kDepthMedian };

// One layer, ready to be blended tile by tile.
struct Blend {
  const float* records;
  int stride;                 // floats from one record to the next
  const int32_t* tile_first;  // [tiles + 1] where each tile's instances begin
  const int32_t* instances;   // [tile_first[tiles]] record of each, nearest first
  int channels;               // colours, then features
  int width, height;
  DepthKind depth_kind;
  float empty_depth;          // where alpha is 0 and the kind is kDepthMean
  const float* background;    // [channels]
  float* const* planes;       // [channels] of [h, w]
  float *alpha, *depth;       // [h, w]
  float* left;                // [h, w] transmittance: 1 - alpha, but with all its digits
};

// The same layer on the way back. Its channels, and blend's planes, are all of them, or the features where only they
// matter.
struct BlendGradients {
  const Blend* blend;
  int channels;
  const float* const* plane_gradients;  // [channels] of [h, w], null where there is none
  const float* alpha_gradient;          // [h, w] or null
};

// What a Gaussian's instance adds up, besides one float a channel: sums over pixels of v = d loss / d ln alpha times
// 1, dx, dy, dx^2, dx dy, dy^2, with dx and dy from the mean to the pixel.
constexpr int kMoments = 6;

}  // namespace moegs
