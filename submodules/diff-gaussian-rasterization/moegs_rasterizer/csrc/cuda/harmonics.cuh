// Rows of spherical harmonics through shared memory: threads own rows, memory wants neighbours together.
#pragma once

#include "device.cuh"

namespace moegs {

constexpr int kRowThreads = 128;

// Odd, so that threads that walk along their rows meet different banks.
MOEGS_BOTH constexpr int row_stride(int floats) { return floats | 1; }

template <int kFloats>
__device__ __forceinline__ void load_rows(const float* from, int rows, float* shared) {
#pragma unroll 8
  for (int k = threadIdx.x; k < rows * kFloats; k += kRowThreads)
    shared[k / kFloats * row_stride(kFloats) + k % kFloats] = from[k];
}

template <int kFloats>
__device__ __forceinline__ void store_rows(float* to, int rows, const float* shared) {
#pragma unroll 8
  for (int k = threadIdx.x; k < rows * kFloats; k += kRowThreads)
    to[k] = shared[k / kFloats * row_stride(kFloats) + k % kFloats];
}

// Calls work(integral constant) with the number of coefficients, 1, 4, 9 or 16, known to the compiler.
template <int kCount>
struct Count {
  static constexpr int value = kCount;
};
template <typename Work>
__device__ __forceinline__ void with_count(int count, const Work& work) {
  if (count == 16) {
    work(Count<16>{});
  } else if (count == 9) {
    work(Count<9>{});
  } else if (count == 4) {
    work(Count<4>{});
  } else {
    work(Count<1>{});
  }
}

constexpr size_t kHarmonicsBytes = kRowThreads * row_stride(48) * sizeof(float);

}  // namespace moegs
