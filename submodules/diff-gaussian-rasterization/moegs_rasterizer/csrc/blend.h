// Front-to-back blending of one tile (3DGS's rule).
#pragma once

#include "tile.h"

namespace moegs::MOEGS_ISA {

// What a pixel of a tile adds up.
struct Sums {
  float *transmittance, *depth, *weight, *values;  // [256] each, [channels, 256]
  explicit Sums(float* scratch)
      : transmittance(scratch), depth(scratch + kTilePixels), weight(scratch + 2 * kTilePixels),
        values(scratch + 3 * kTilePixels) {}
};

inline void write_tile(const Blend& in, const Frame& frame, const Sums& sums, int channels) {
  for (int row = 0; row < frame.rows; ++row) {
    const int64_t start = int64_t(frame.y + row) * in.width + frame.x;
    const float* left = sums.transmittance + row * kTile;
    const float *depth = sums.depth + row * kTile, *weight = sums.weight + row * kTile;
    for (int x = 0; x < frame.columns; ++x) {
      in.left[start + x] = __builtin_fabsf(left[x]);
      in.alpha[start + x] = 1 - in.left[start + x];
      const float mean = weight[x] > 0 ? depth[x] / weight[x] : in.empty_depth;
      in.depth[start + x] = in.depth_kind == kDepthMean ? mean : depth[x];
    }
    for (int channel = 0; channel < channels; ++channel) {
      const float* value = sums.values + channel * kTilePixels + row * kTile;
      float* plane = in.planes[channel] + start;
      const float background = in.background[channel];
      for (int x = 0; x < frame.columns; ++x) plane[x] = value[x] + __builtin_fabsf(left[x]) * background;
    }
  }
}

inline void add_depth(DepthKind kind, const Step& step, Floats before, float depth, const Sums& sums, int at) {
  float *to = sums.depth + at, *weight = sums.weight + at;
  if (kind == kDepthMedian) {  // of the Gaussian that takes the transmittance from above to below a half
    const Floats half = splat(0.5f);
    const Mask passed = both(step.taken, both(above(before, half), above(half, step.after)));
    store(to, select(passed, splat(depth), load(to)));
    return;
  }
  store(to, load(to) + step.weight * depth);
  // Not 1 - transmittance, which rounds to few digits where alpha is small.
  if (kind == kDepthMean) store(weight, load(weight) + step.weight);
}

// kChannels < 0 reads the number of channels from `in`.
template <int kChannels>
void blend(const Blend& in, int64_t tile, float* scratch) {
  const int channels = kChannels >= 0 ? kChannels : in.channels;
  const Frame frame(in, tile);
  const Sums sums(scratch);
  Alive alive(frame, sums.transmittance);
  const float no_depth = in.depth_kind == kDepthMedian ? kEmptyMedianDepth : 0.0f;
  for (int i = 0; i < kTilePixels; ++i) sums.depth[i] = no_depth;
  for (int i = 0; i < kTilePixels; ++i) sums.weight[i] = 0;
  for (int i = 0; i < channels * kTilePixels; ++i) sums.values[i] = 0;

  Batch batch(in, frame, tile);
  while (alive.any() && batch.advance()) {
    for (const Instance& instance : batch) {
      const float* values = instance.values();
      for (int strip = 0; strip < kStrips; ++strip) {
        uint32_t rows = instance.rows(strip) & alive.rows(strip);
        if (!rows) continue;
        const Column column(instance, strip);
        for (; rows; rows &= rows - 1) {
          const int row = __builtin_ctz(rows);
          const int at = row * kTile + strip * kLanes;
          const Floats before = load(sums.transmittance + at);
          const Step step(column, instance.dy(row), before);
          store(sums.transmittance + at, step.left);
#pragma GCC unroll 16
          for (int channel = 0; channel < channels; ++channel) {
            float* value = sums.values + channel * kTilePixels + at;
            store(value, load(value) + step.weight * values[channel]);
          }
          add_depth(in.depth_kind, step, before, instance.record().depth, sums, at);
          alive.update(strip, row, step.left);
        }
      }
    }
  }
  write_tile(in, frame, sums, channels);
}

}  // namespace moegs::MOEGS_ISA
