// A tile as blending works on it: a block of eight warps, each of which owns 8x4 of the tile's 16x16 pixels.
//
// The tile's list passes through shared memory in batches. Each warp first tests a batch against its own pixels, a lane
// for each Gaussian, and then walks along the hits, a lane for each pixel (warp culling, as in Faster-GS).
#pragma once

#include "ellipse.cuh"

namespace moegs {

constexpr int kTileThreads = kTilePixels;
constexpr int kWarps = kTileThreads / kWarp;
constexpr int kPartWidth = 8, kPartHeight = 4;  // pixels of a warp

// Where a thread's pixel, and its warp's part of the tile, lie in the image.
struct Place {
  int lane, warp;
  int part_x, part_y;  // first pixel of the warp's
  int x, y;
  bool inside;

  __device__ __forceinline__ Place(const Lists& lists, int tile) {
    const int across = (lists.width + kTile - 1) / kTile;
    lane = threadIdx.x % kWarp;
    warp = threadIdx.x / kWarp;
    part_x = tile % across * kTile + warp % (kTile / kPartWidth) * kPartWidth;
    part_y = tile / across * kTile + warp / (kTile / kPartWidth) * kPartHeight;
    x = part_x + lane % kPartWidth;
    y = part_y + lane / kPartWidth;
    inside = x < lists.width && y < lists.height;
  }
  __device__ __forceinline__ int64_t pixel(const Lists& lists) const { return int64_t(y) * lists.width + x; }
};

// Largest exponent of a Gaussian over the warp's pixels at least -log2(255), or nearly so.
__device__ __forceinline__ bool meets(const float4& one, const float4& two, int part_x, int part_y) {
  const float x0 = part_x - one.x, x1 = x0 + (kPartWidth - 1), y0 = part_y - one.y, y1 = y0 + (kPartHeight - 1);
  const float a = two.x, b = two.y, c = two.z;
  // The nearest point of the rectangle along each axis; where it is not the mean's own, the best point of that edge.
  const float nearest_x = fminf(fmaxf(0.0f, x0), x1), nearest_y = fminf(fmaxf(0.0f, y0), y1);
  if (nearest_x == 0 && nearest_y == 0) return true;
  const float least = -(kLevel + kLevelMargin) - one.z;
  const float along_y = fminf(fmaxf(__fdividef(-0.5f * b * nearest_x, c), y0), y1);
  const float along_x = fminf(fmaxf(__fdividef(-0.5f * b * nearest_y, a), x0), x1);
  const float on_x = nearest_x * (a * nearest_x + b * along_y) + c * along_y * along_y;
  const float on_y = nearest_y * (c * nearest_y + b * along_x) + a * along_x * along_x;
  // Where one coordinate of the mean lies within the rectangle, only the other's edge counts.
  const bool pass_x = nearest_x != 0 && on_x >= least, pass_y = nearest_y != 0 && on_y >= least;
  return pass_x || pass_y;
}

// One Gaussian at one pixel. Spelt in intrinsics: forward and backward must agree to the bit on what is blended.
struct Step {
  float raw;      // alpha before its limit
  float weight;   // alpha times transmittance
  float after;    // transmittance after it
  bool visible;   // alpha reaches 1/255
  bool stops;     // visible, but would take the transmittance below its least

  __device__ __forceinline__ Step(const float4& one, const float4& two, const Place& place, float transmittance) {
    const float dx = __fsub_rn(float(place.x), one.x), dy = __fsub_rn(float(place.y), one.y);
    const float slant = __fmaf_rn(two.x, dx, __fmul_rn(two.y, dy));
    const float exponent = __fmaf_rn(dx, slant, __fmaf_rn(__fmul_rn(two.z, dy), dy, one.z));
    // Rounding can lift the exponent above its peak where the covariance is ill-conditioned; 3DGS skips such pixels.
    visible = exponent >= -kLevel && exponent <= one.z;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(raw) : "f"(exponent));
    weight = __fmul_rn(fminf(raw, kLargestAlpha), transmittance);
    after = __fsub_rn(transmittance, weight);
    stops = visible && after < kLeastTransmittance;
  }
};

// Batches of a tile's list, loaded by the whole block.
template <int kBatch>
struct Batch {
  float4 one[kBatch], two[kBatch];  // Shape
  int32_t row[kBatch];
};

// Bits of the 32 entries from `start` on that may reach the warp's pixels.
template <int kBatch>
__device__ __forceinline__ unsigned hits(const Batch<kBatch>& batch, int start, int count, const Place& place) {
  const int mine = start + place.lane;
  const bool hit = mine < count && meets(batch.one[mine], batch.two[mine], place.part_x, place.part_y);
  return __ballot_sync(kAllLanes, hit);
}

}  // namespace moegs
