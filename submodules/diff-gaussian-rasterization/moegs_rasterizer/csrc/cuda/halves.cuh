// Pairs of half-precision numbers, of a lane's two pixels. Compiled for the CPU they are what tests/kernels_on_cpu says.
#pragma once

#include "device.cuh"

#ifdef __CUDACC__
#include <cuda_fp16.h>

namespace moegs {

using Half2 = __half2;

__device__ __forceinline__ Half2 halves(float low, float high) { return __floats2half2_rn(low, high); }
__device__ __forceinline__ float2 floats_of(Half2 pair) { return __half22float2(pair); }
// The pair that holds one of a pair's halves twice.
__device__ __forceinline__ Half2 lows(Half2 pair) { return __low2half2(pair); }
__device__ __forceinline__ Half2 highs(Half2 pair) { return __high2half2(pair); }
__device__ __forceinline__ Half2 times(Half2 a, Half2 b) { return __hmul2(a, b); }
__device__ __forceinline__ Half2 fused(Half2 a, Half2 b, Half2 c) { return __hfma2(a, b, c); }       // a b + c
__device__ __forceinline__ Half2 less(Half2 a, Half2 b, Half2 c) { return __hfma2(__hneg2(a), b, c); }  // c - a b
__device__ __forceinline__ Half2 smaller(Half2 a, Half2 b) { return __hmin2(a, b); }

// 2^value, to about 10 bits.
__device__ __forceinline__ Half2 exp2_quick(Half2 value) { return h2exp2(value); }

// `value` where a >= b, else 0; also 0 where one of them is NaN.
__device__ __forceinline__ Half2 where_at_least(Half2 a, Half2 b, Half2 value) {
  const unsigned bits = *reinterpret_cast<const unsigned*>(&value) & __hge2_mask(a, b);
  return *reinterpret_cast<const Half2*>(&bits);
}

}  // namespace moegs
#endif
