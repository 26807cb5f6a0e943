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
      in.depth[start + x] = in.depth_kind != kDepthMean ? depth[x] : weight[x] > 0 ? depth[x] / weight[x] : in.empty_depth;
    }
    for (int channel = 0; channel < channels; ++channel) {
      const float* value = sums.values + channel * kTilePixels + row * kTile;
      float* plane = in.planes[channel] + start;
      const float background = in.background[channel];
      for (int x = 0; x < frame.columns; ++x) plane[x] = value[x] + __builtin_fabsf(left[x]) * background;
    }
  }
}

// kChannels < 0 reads the number of channels from `in`.
template <int kChannels>
void blend(const Blend& in, int64_t tile, float* scratch) {
  const int channels = kChannels >= 0 ? kChannels : in.channels;
  const Frame frame(in, tile);
  const Sums sums(scratch);
  Alive alive(frame, sums.transmittance);
  const bool median = in.depth_kind == kDepthMedian, mean = in.depth_kind == kDepthMean;
  for (int i = 0; i < kTilePixels; ++i) sums.depth[i] = median ? kEmptyMedianDepth : 0.0f;
  for (int i = 0; i < kTilePixels; ++i) sums.weight[i] = 0;
  for (int i = 0; i < channels * kTilePixels; ++i) sums.values[i] = 0;

  const List list(in, tile);
  const int32_t end = in.tile_first[tile + 1];
  for (int32_t place = in.tile_first[tile]; place < end && alive.any(); ++place) {
    const float* values = list.at(place) + kRecordFloats;
    const Record& record = *reinterpret_cast<const Record*>(values - kRecordFloats);
    const Instance instance(record, frame);
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
        if (median) {
          const Floats half = splat(0.5f);
          const Mask passed = both(step.taken, both(above(before, half), above(half, step.after)));
          store(sums.depth + at, select(passed, splat(record.depth), load(sums.depth + at)));
        } else {
          store(sums.depth + at, load(sums.depth + at) + step.weight * record.depth);
          // Not 1 - transmittance, which rounds to few digits where alpha is small.
          if (mean) store(sums.weight + at, load(sums.weight + at) + step.weight);
        }
        alive.update(strip, row, step.left);
      }
    }
  }
  write_tile(in, frame, sums, channels);
}

}  // namespace moegs::MOEGS_ISA
