// Gradients of blending one tile, front to back once more.
//
// With g the gradient at a pixel, c_i a Gaussian's values and w_i = alpha_i T_i its weight, the pixel's share of the
// loss is sum_i w_i (g . c_i) + T_last (g . background - g_alpha). One scalar a pixel, the residual r_i = what comes
// after Gaussian i of that sum, gives d loss / d alpha_i = T_i (g . c_i) - r_i / (1 - alpha_i): no division to walk
// back through the transmittance, as 3DGS does, and no stored colour prefix.
#pragma once

#include "tile.h"

namespace moegs::MOEGS_ISA {

// Copies the tile's part of a plane, zeros beyond the image and where there is no plane.
inline void read_tile(const Blend& blend, const Frame& frame, const float* plane, float* to) {
  for (int i = 0; i < kTilePixels; ++i) to[i] = 0;
  if (!plane) return;
  for (int row = 0; row < frame.rows; ++row) {
    const float* from = plane + int64_t(frame.y + row) * blend.width + frame.x;
    for (int x = 0; x < frame.columns; ++x) to[row * kTile + x] = from[x];
  }
}

// residual[256] before the first Gaussian: g . image, which holds the background, minus g_alpha T_last.
inline void first_residual(const BlendGradients& in, const Frame& frame, float* residual) {
  const Blend& blend = *in.blend;
  for (int i = 0; i < kTilePixels; ++i) residual[i] = 0;
  for (int row = 0; row < frame.rows; ++row) {
    const int64_t start = int64_t(frame.y + row) * blend.width + frame.x;
    float* to = residual + row * kTile;
    for (int channel = 0; channel < in.channels; ++channel) {
      if (!in.plane_gradients[channel]) continue;
      const float* given = in.plane_gradients[channel] + start;
      const float* value = blend.planes[channel] + start;
      for (int x = 0; x < frame.columns; ++x) to[x] += given[x] * value[x];
    }
    if (!in.alpha_gradient) continue;
    for (int x = 0; x < frame.columns; ++x) to[x] -= in.alpha_gradient[start + x] * blend.left[start + x];
  }
}

// Each vector's sum over its lanes.
inline void write_sums(const Floats* vectors, int count, float* to) {
  int i = 0;
#pragma GCC unroll 4
  for (; i + 4 <= count; i += 4) write_four_sums(vectors + i, to + i);
#pragma GCC unroll 4
  for (; i < count; ++i) to[i] = sum(vectors[i]);
}

// For the instances behind those at which a tile's last pixel stopped.
inline void clear(float* sums, int64_t count) {
  for (int64_t i = 0; i < count; ++i) sums[i] = 0;
}

// All gradients: kMoments + channels floats an instance.
template <int kChannels>
void blend_backward(const BlendGradients& in, int64_t tile, float* scratch, float* sums) {
  const int channels = kChannels >= 0 ? kChannels : in.channels;
  const Blend& blend = *in.blend;
  const Frame frame(blend, tile);
  float *transmittance = scratch, *residual = scratch + kTilePixels, *given = residual + kTilePixels;
  Alive alive(frame, transmittance);
  first_residual(in, frame, residual);
  for (int channel = 0; channel < channels; ++channel)
    read_tile(blend, frame, in.plane_gradients[channel], given + channel * kTilePixels);
  Floats fixed[kChannels > 0 ? kChannels : 1];
  Floats* by_channel = kChannels >= 0 ? fixed : reinterpret_cast<Floats*>(given + channels * kTilePixels);

  Batch batch(blend, frame, tile);
  while (alive.any() && batch.advance()) {
    for (const Instance& instance : batch) {
      const float* values = instance.values();
      Floats moments[kMoments] = {};
#pragma GCC unroll 16
      for (int channel = 0; channel < channels; ++channel) by_channel[channel] = Floats{};
      for (int strip = 0; strip < kStrips; ++strip) {
        uint32_t rows = instance.rows(strip) & alive.rows(strip);
        if (!rows) continue;
        const Column column(instance, strip);
        Floats v0{}, v1{}, v2{};  // sums over rows of v, v dy, v dy^2
        for (; rows; rows &= rows - 1) {
          const int row = __builtin_ctz(rows);
          const int at = row * kTile + strip * kLanes;
          const float dy = instance.dy(row);
          const Step step(column, dy, load(transmittance + at));
          store(transmittance + at, step.left);
          Floats toward{};  // g . c
#pragma GCC unroll 16
          for (int channel = 0; channel < channels; ++channel) {
            const Floats g = load(given + channel * kTilePixels + at);
            toward += g * values[channel];
            by_channel[channel] += g * step.weight;
          }
          const Floats rest = load(residual + at) - step.weight * toward;
          store(residual + at, rest);
          // Times alpha, as the exponent's derivative asks; nothing passes where alpha was cut to its limit.
          const Mask free = both(step.taken, at_most(step.raw, splat(kLargestAlpha)));
          const Floats v = where(free, step.weight * (toward - rest / step.after));
          v0 += v;
          v1 += v * dy;
          v2 += v * (dy * dy);
          alive.update(strip, row, step.left);
        }
        const Floats dx = column.dx();
        moments[0] += v0;
        moments[1] += v0 * dx;
        moments[2] += v1;
        moments[3] += v0 * dx * dx;
        moments[4] += v1 * dx;
        moments[5] += v2;
      }
      write_sums(moments, kMoments, sums);
      write_sums(by_channel, channels, sums + kMoments);
      sums += kMoments + channels;
    }
  }
  clear(sums, int64_t(batch.remaining()) * (kMoments + channels));
}

// Only the channels' own gradients, which are linear: sum over pixels of g w. `channels` floats an instance.
template <int kChannels>
void blend_backward_linear(const BlendGradients& in, int64_t tile, float* scratch, float* sums) {
  const int channels = kChannels >= 0 ? kChannels : in.channels;
  const Blend& blend = *in.blend;
  const Frame frame(blend, tile);
  float *transmittance = scratch, *given = scratch + kTilePixels;
  Alive alive(frame, transmittance);
  for (int channel = 0; channel < channels; ++channel)
    read_tile(blend, frame, in.plane_gradients[channel], given + channel * kTilePixels);
  Floats fixed[kChannels > 0 ? kChannels : 1];
  Floats* by_channel = kChannels >= 0 ? fixed : reinterpret_cast<Floats*>(given + channels * kTilePixels);

  Batch batch(blend, frame, tile);
  while (alive.any() && batch.advance()) {
    for (const Instance& instance : batch) {
#pragma GCC unroll 16
      for (int channel = 0; channel < channels; ++channel) by_channel[channel] = Floats{};
      for (int strip = 0; strip < kStrips; ++strip) {
        uint32_t rows = instance.rows(strip) & alive.rows(strip);
        if (!rows) continue;
        const Column column(instance, strip);
        for (; rows; rows &= rows - 1) {
          const int row = __builtin_ctz(rows);
          const int at = row * kTile + strip * kLanes;
          const Step step(column, instance.dy(row), load(transmittance + at));
          store(transmittance + at, step.left);
#pragma GCC unroll 16
          for (int channel = 0; channel < channels; ++channel)
            by_channel[channel] += load(given + channel * kTilePixels + at) * step.weight;
          alive.update(strip, row, step.left);
        }
      }
      write_sums(by_channel, channels, sums);
      sums += channels;
    }
  }
  clear(sums, int64_t(batch.remaining()) * channels);
}

}  // namespace moegs::MOEGS_ISA
