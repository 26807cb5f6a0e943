// Instructions that C++ has no name for. Compiled for the CPU they are what tests/kernels_on_cpu says.
#pragma once

#ifdef __CUDACC__
#include <cuda_pipeline.h>
#endif

#include "device.cuh"

namespace moegs {

// Of a 16x8 product a lane holds two columns of two rows, eight apart.
struct Product {
  float sums[2][2] = {};  // row, column
};

#ifdef __CUDACC__

// 2^value, to 2 units in the last place.
__device__ __forceinline__ float exp2_quick(float value) {
  float found;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(found) : "f"(value));
  return found;
}

// The square root, to 1 unit in the last place.
__device__ __forceinline__ float root(float value) {
  float found;
  asm("sqrt.approx.f32 %0, %1;" : "=f"(found) : "f"(value));
  return found;
}

// Adds the product of a warp's matrices, [16, 8] by [8, 8], each number's 11 leading bits.
__device__ __forceinline__ void multiply(Product& to, const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(to.sums[0][0]), "+f"(to.sums[0][1]), "+f"(to.sums[1][0]), "+f"(to.sums[1][1])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Copies to a block's shared memory while the thread goes on: nobody reads it before wait_for_copies and a barrier.
__device__ __forceinline__ void copy_ahead(float* shared, const float* from) {
  __pipeline_memcpy_async(shared, from, sizeof(float));
}
__device__ __forceinline__ void wait_for_copies() {
  __pipeline_commit();
  __pipeline_wait_prior(0);
}

__device__ __forceinline__ void add2(float* to, float2 value) {
#if __CUDA_ARCH__ >= 900 && (__CUDACC_VER_MAJOR__ > 12 || (__CUDACC_VER_MAJOR__ == 12 && __CUDACC_VER_MINOR__ >= 1))
  asm volatile("red.global.add.v2.f32 [%0], {%1, %2};" ::"l"(to), "f"(value.x), "f"(value.y) : "memory");
#else
  atomicAdd(to, value.x);
  atomicAdd(to + 1, value.y);
#endif
}

#endif

}  // namespace moegs
