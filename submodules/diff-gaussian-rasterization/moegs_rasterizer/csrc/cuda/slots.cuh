// What a warp's pixels say of a Gaussian, and its sums over them.
//
// A lane is a pixel while it blends, but sums over pixels want a lane to be a Gaussian. So each warp writes what its
// pixels say to a slot in shared memory, and once all slots are full each lane sums up one of them over half of the
// pixels: no reduction by shuffles, and one addition to memory a Gaussian and part of a tile.
#pragma once

#include <type_traits>

#include "tile.cuh"

namespace moegs {

constexpr int kSlots = 16;               // as many as a half warp has lanes
constexpr int kHalf = kWarp / 2;         // pixels that a lane sums up: two rows of the warp's
constexpr int kSlotStride = kWarp + 1;   // so that lanes that walk along their slots meet different banks
constexpr int kGivenStride = kWarp + 1;  // a gap after the first half, for the same reason

struct Said {
  float v, w;  // d loss / d ln alpha, and alpha times transmittance
};
template <bool kLinear>
using Slot = std::conditional_t<kLinear, float, Said>;  // w alone where only sums of w are wanted

__device__ __forceinline__ int given_at(int pixel) { return pixel + pixel / kHalf; }

__device__ __forceinline__ void add4(float* to, float4 value) {
#if __CUDA_ARCH__ >= 900 && (__CUDACC_VER_MAJOR__ > 12 || (__CUDACC_VER_MAJOR__ == 12 && __CUDACC_VER_MINOR__ >= 1))
  asm volatile("red.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(to), "f"(value.x), "f"(value.y), "f"(value.z),
               "f"(value.w)
               : "memory");
#else
  atomicAdd(to, value.x);
  atomicAdd(to + 1, value.y);
  atomicAdd(to + 2, value.z);
  atomicAdd(to + 3, value.w);
#endif
}

// Moments of v about the Gaussian's mean, from sums over rows of pixels: v, v column, v column^2.
struct RowSums {
  float zero = 0, one = 0, two = 0;
  __device__ __forceinline__ void add(float v, float column) {
    zero += v;
    one = fmaf(v, column, one);
    two = fmaf(v, column * column, two);
  }
};

__device__ __forceinline__ void add_moments(const RowSums& row, float dx, float dy, float* moments) {
  const float by_x = fmaf(dx, row.zero, row.one);
  moments[0] += row.zero;
  moments[1] += by_x;
  moments[2] = fmaf(dy, row.zero, moments[2]);
  moments[3] += fmaf(dx, by_x + row.one, row.two);
  moments[4] = fmaf(dy, by_x, moments[4]);
  moments[5] = fmaf(dy * dy, row.zero, moments[5]);
}

// Sums of one slot over half of the warp's pixels; v is 0 throughout where linear.
template <int kGroups, bool kLinear>
__device__ __forceinline__ void sum_slot(const Slot<kLinear>* slot, const float4* given, int half, float2 to_part,
                                         float* sums) {
  constexpr int kFirst = kLinear ? 0 : kMoments;
#pragma unroll
  for (int y = 0; y < kHalf / kPartWidth; ++y) {
    RowSums row;
#pragma unroll
    for (int x = 0; x < kPartWidth; ++x) {
      const int pixel = half * kHalf + y * kPartWidth + x;
      float w;
      if constexpr (kLinear) {
        w = slot[pixel];
      } else {
        const Said said = slot[pixel];
        w = said.w;
        row.add(said.v, float(x));
      }
#pragma unroll
      for (int group = 0; group < kGroups; ++group) {
        const float4 g = given[given_at(pixel) * kGroups + group];
        sums[kFirst + 4 * group] = fmaf(w, g.x, sums[kFirst + 4 * group]);
        sums[kFirst + 4 * group + 1] = fmaf(w, g.y, sums[kFirst + 4 * group + 1]);
        sums[kFirst + 4 * group + 2] = fmaf(w, g.z, sums[kFirst + 4 * group + 2]);
        sums[kFirst + 4 * group + 3] = fmaf(w, g.w, sums[kFirst + 4 * group + 3]);
      }
    }
    if constexpr (!kLinear) add_moments(row, to_part.x, to_part.y + float(2 * half + y), sums);
  }
}

// Adds up the two halves of a slot and hands out the sums by fours, even fours to one lane, odd ones to the other.
template <int kFloats, typename Take>
__device__ __forceinline__ void share_out(const float* sums, int half, const Take& take) {
#pragma unroll
  for (int four = 0; four < kFloats / 4; four += 2) {
    float mine[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const float even = sums[4 * four + k], odd = four * 4 + 4 < kFloats ? sums[4 * four + 4 + k] : 0;
      mine[k] = (half ? odd : even) + __shfl_xor_sync(kAllLanes, half ? even : odd, kHalf);
    }
    if (four * 4 + 4 * half < kFloats) take(4 * (four + half), make_float4(mine[0], mine[1], mine[2], mine[3]));
  }
}

}  // namespace moegs
