// Rows of spherical harmonics through shared memory: threads own rows, memory wants neighbours together.
#pragma once

#include "instructions.cuh"

namespace moegs {

constexpr int kRowThreads = 128;

// Odd, so that threads that walk along their rows meet different banks.
MOEGS_BOTH constexpr int row_stride(int floats) { return floats | 1; }

// Values [kFirst, kFirst + kPart) of rows of kFloats, which lie side by side in `from`: each warp those of its threads.
// They are there after wait_for_copies and a barrier of the warp.
template <int kFloats, int kFirst, int kPart>
__device__ __forceinline__ void load_part(const float* from, int rows, float* shared) {
  const int lane = threadIdx.x % kWarp, first = threadIdx.x - lane;
  const int count = min(kWarp, rows - first) * kPart;
  shared += first * row_stride(kFloats) + kFirst;
  from += first * kPart;
#pragma unroll 8
  for (int k = lane; k < count; k += kWarp)
    copy_ahead(shared + k / kPart * row_stride(kFloats) + k % kPart, from + k);
}

template <int kFloats, int kFirst, int kPart>
__device__ __forceinline__ void store_part(float* to, int rows, const float* shared) {
#pragma unroll 8
  for (int k = threadIdx.x; k < rows * kPart; k += kRowThreads)
    to[k] = shared[k / kPart * row_stride(kFloats) + kFirst + k % kPart];
}

// Whole rows from `start` on; of raw Gaussians the first coefficient lies apart from the rest.
template <int kFloats>
__device__ __forceinline__ void load_rows(const Gaussians& in, int64_t start, int rows, float* shared) {
  if (!in.raw) return load_part<kFloats, 0, kFloats>(in.sh + start * kFloats, rows, shared);
  load_part<kFloats, 0, 3>(in.sh + start * 3, rows, shared);
  if constexpr (kFloats > 3) load_part<kFloats, 3, kFloats - 3>(in.sh_rest + start * (kFloats - 3), rows, shared);
}

template <int kFloats>
__device__ __forceinline__ void store_rows(const GaussianGradients& out, bool raw, int64_t start, int rows,
                                           const float* shared) {
  if (!raw) return store_part<kFloats, 0, kFloats>(out.sh + start * kFloats, rows, shared);
  store_part<kFloats, 0, 3>(out.sh + start * 3, rows, shared);
  if constexpr (kFloats > 3) store_part<kFloats, 3, kFloats - 3>(out.sh_rest + start * (kFloats - 3), rows, shared);
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
