// What is given at a pixel on the way back: gradients of the images, and the residual before the first Gaussian.
#pragma once

#include "tile.cuh"

namespace moegs {

struct Pass {
  const BlendBackwardLayer* layer;
  const Lists* lists;
  int tile, first_channel, first_float;
  int floats;  // of sums to write; those behind are of channels that only fill up a float4
};

// The gradient of a pixel's channel; features alone where linear.
template <bool kLinear>
__device__ __forceinline__ float given_gradient(const Pass& pass, int channel, int64_t at, int64_t plane) {
  const BlendBackwardLayer& layer = *pass.layer;
  if (kLinear) channel += layer.colour_channels;
  if (channel >= layer.channels) return 0;
  const bool colour = channel < layer.colour_channels;
  const float* image = colour ? layer.colour_gradient : layer.feature_gradient;
  return image ? image[(colour ? channel : channel - layer.colour_channels) * plane + at] : 0;
}

// What is still to come at the pixel before the first Gaussian: g . image, which holds the background, minus
// g_alpha T_last. Of this pass's channels; g_alpha counts in the first pass.
template <int kGroups>
__device__ float first_residual(const Pass& pass, const float* given, int64_t at, int64_t plane) {
  const BlendBackwardLayer& layer = *pass.layer;
  float residual = 0;
#pragma unroll
  for (int k = 0; k < 4 * kGroups; ++k) {
    const int channel = pass.first_channel + k;
    if (channel >= layer.channels) continue;
    const bool colour = channel < layer.colour_channels;
    const float* image = colour ? layer.colour : layer.features;
    residual = fmaf(given[k], image[(colour ? channel : channel - layer.colour_channels) * plane + at], residual);
  }
  if (pass.first_channel == 0 && layer.alpha_gradient) residual -= layer.alpha_gradient[at] * layer.left[at];
  return residual;
}

}  // namespace moegs
