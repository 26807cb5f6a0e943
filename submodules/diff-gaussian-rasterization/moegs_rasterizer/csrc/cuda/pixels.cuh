// What both kinds of blending, in float (blend.cu) and in half precision (blend_half.cu), do alike: a pixel's sums, the
// layers of a launch, and the images' values.
#pragma once

#include "tile.cuh"

namespace moegs {

// What a pixel adds up. `kPlain` where the depth is a plain sum.
template <int kValues, bool kPlain>
struct Pixel {
  float values[kValues] = {};
  float transmittance = 1, weight = 0, median = kEmptyMedianDepth;

  // Without branches: most pixels take most hits, and the next hit's arithmetic need not wait.
  __device__ __forceinline__ void take(const Step& step, const float* carried, float depth) {
#pragma unroll
    for (int k = 0; k < kValues; ++k) values[k] = fmaf(step.weight, carried[k], values[k]);
    if (!kPlain) {
      weight += step.weight;  // not 1 - transmittance, which rounds to few digits where alpha is small
      if (step.taken && transmittance > 0.5f && step.after < 0.5f) median = depth;
    }
    transmittance = step.left;
  }
};

// A layer's pass over some of its values.
struct Pass {
  const BlendLayer* layer;
  const Lists* lists;
  int tile, first_group;

  __device__ __forceinline__ int groups() const { return layer->channels / 4 + 1; }
};

template <int kValues, bool kPlain>
__device__ __forceinline__ void write_pixel(const Pass& pass, int64_t at, const Pixel<kValues, kPlain>& pixel) {
  const BlendLayer& layer = *pass.layer;
  const Lists& lists = *pass.lists;
  const int64_t plane = int64_t(lists.width) * lists.height;
  // Bad input never gives a picture that looks right.
  const float left = fabsf(pixel.transmittance);
  const float poison = lists.status[layer.index] == kNoFault ? 0.0f : __int_as_float(0x7fffffff);
  if (pass.first_group == 0) {
    layer.alpha[at] = 1 - left + poison;
    if (layer.left) layer.left[at] = left;
  }
#pragma unroll
  for (int k = 0; k < kValues; ++k) {
    const int channel = 4 * pass.first_group + k;
    if (channel < layer.channels) {
      const float value = fmaf(left, layer.background[channel], pixel.values[k]) + poison;
      const bool colour = channel < layer.colour_channels;
      float* image = colour ? layer.colour : layer.features;
      image[(colour ? channel : channel - layer.colour_channels) * plane + at] = value;
    } else if (channel == layer.channels) {
      float depth = pixel.values[k];
      if (!kPlain && layer.depth_kind == kDepthMean)
        depth = pixel.weight > 0 ? depth / pixel.weight : layer.empty_depth;
      if (!kPlain && layer.depth_kind == kDepthMedian) depth = pixel.median;
      layer.depth[at] = depth + poison;
    }
  }
}

// Layers of one launch: those with as many values left, and depths alike.
struct Chosen {
  int layer[kMostLayers];
};

// Layers with kLess < values left <= kValues, which fill as many float4s, and depths alike; those with more than
// kValuesPerPass go with as many.
inline int choose(const BlendCall& call, int first_group, int less, int values, bool plain, Chosen& chosen) {
  int count = 0;
  for (int layer = 0; layer < call.count; ++layer) {
    const int left = call.layer[layer].channels + 1 - 4 * first_group;
    if ((call.layer[layer].depth_kind == kDepthSum) != plain) continue;
    if (left > less && (left <= values || values == kValuesPerPass)) chosen.layer[count++] = layer;
  }
  return count;
}

inline int groups_of(const BlendCall& call) {
  int groups = 0;
  for (int layer = 0; layer < call.count; ++layer) groups = max(groups, call.layer[layer].channels / 4 + 1);
  return groups;
}

inline int tiles_of(const Lists& lists) {
  return ((lists.width + kTile - 1) / kTile) * ((lists.height + kTile - 1) / kTile);
}

}  // namespace moegs
