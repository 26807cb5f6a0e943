// Packs 2D Gaussians into what blending reads in whole float4s, and counts the tiles that each reaches.
#pragma once

#include "ellipse.cuh"

namespace moegs {

constexpr float kLog2E = 1.44269504f;

// What a thread of the projection knows of its Gaussian.
struct Splat2d {
  float mean[2], conic[4], depth;
  int32_t radius, box[4];
  float colour[3];  // from harmonics; not where colours are given
};

// Value `channel` of what blending carries: colours, then features, then the depth, then zeros.
__device__ __forceinline__ float carried_value(const Carried& from, const Splat2d& splat, int64_t row, int channel) {
  if (channel < from.colour_channels) {
    if (from.colours) return from.colours[row * from.colour_channels + channel];
    return channel == 0 ? splat.colour[0] : channel == 1 ? splat.colour[1] : splat.colour[2];
  }
  const int feature = channel - from.colour_channels;
  if (feature < from.feature_channels) return from.features[row * from.feature_channels + feature];
  return feature == from.feature_channels ? splat.depth : 0.0f;
}

__device__ __forceinline__ void pack_values(const Carried& from, const Splat2d& splat, int64_t row, float* to) {
  for (int k = 0; k < 4 * from.groups(); k += 4) {
    store4(to + k, make_float4(carried_value(from, splat, row, k), carried_value(from, splat, row, k + 1),
                               carried_value(from, splat, row, k + 2), carried_value(from, splat, row, k + 3)));
  }
}

__device__ __forceinline__ int count_tiles(const Shape& shape, int4 box) {
  const Ellipse ellipse(shape);
  int count = 0;
  for (int tile_row = box.y; tile_row < box.w; ++tile_row) {
    const int2 met = ellipse.columns(tile_row, box.x, box.z);
    count += max(0, met.y - met.x);
  }
  return count;
}

// The shape of a Gaussian that is not culled, and the number of tiles that it reaches.
__device__ __forceinline__ int pack_shape(const Splat2d& splat, float* to) {
  const float* conic = splat.conic;
  // Below 1/255 no pixel takes it ("inria" lists it all the same).
  if (!(conic[3] >= kLeastAlpha)) return 0;
  const int4 box{splat.box[0], splat.box[1], splat.box[2], splat.box[3]};
  const Shape shape{splat.mean[0], splat.mean[1], log2f(conic[3]), -0.5f * kLog2E * conic[0], -kLog2E * conic[1],
                    -0.5f * kLog2E * conic[2]};
  const float2 packed = packed_box(box);
  store4(to, make_float4(shape.x, shape.y, shape.log2_opacity, shape.a));
  store4(to + 4, make_float4(shape.b, shape.c, packed.x, packed.y));
  return count_tiles(shape, box);
}

// Every given value is looked at, also of Gaussians that are culled: bad ones must not hide.
__device__ __forceinline__ void check_values(const Carried& from, const Splat2d& splat, int64_t row, int layer,
                                             unsigned long long* status) {
  float sums[2] = {0, 0};  // not 0 where a value is NaN or infinite
  for (int k = 0; k < from.colour_channels; ++k) sums[0] += carried_value(from, splat, row, k) * 0.0f;
  for (int k = 0; k < from.feature_channels; ++k) sums[1] += from.features[row * from.feature_channels + k] * 0.0f;
  if (sums[0] != 0) report(status, layer, int(row), kBadColours);
  if (sums[1] != 0) report(status, layer, int(row), kBadFeatures);
}

__device__ __forceinline__ void check_background(const Carried& layer, int index, unsigned long long* status) {
  for (int k = 0; k < layer.channels(); ++k) {
    if (!is_finite(layer.background[k])) report(status, index, k, kBadBackground);
  }
}

}  // namespace moegs
