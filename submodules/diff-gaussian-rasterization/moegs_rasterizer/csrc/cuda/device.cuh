// Small things every kernel uses.
#pragma once

#include <cuda_runtime.h>

#include <string>

#include "../failure.h"
#include "launch.h"
#include "switches.cuh"

namespace moegs {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

inline void check(cudaError_t status, const char* doing) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // forgets it: else the next launch, which may go well, would be taken for this one
  throw Failure(std::string("CUDA failed while ") + doing + ": " + cudaGetErrorString(status));
}

// Memory of a block, of a size that the launch names.
#ifdef __CUDACC__
#define MOEGS_DYNAMIC_SHARED(type, name) extern __shared__ type name[]
#endif

#ifdef __CUDACC__
// The test suite compiles these sources for the CPU too, where launching is a loop: tests/kernels_on_cpu.
template <typename... Parameters, typename... Arguments>
void launch(const char* doing, void (*kernel)(Parameters...), dim3 blocks, int threads, size_t bytes,
            cudaStream_t stream, const Arguments&... arguments) {
  kernel<<<blocks, threads, bytes, stream>>>(arguments...);
  check(cudaGetLastError(), doing);
}
#endif

inline cudaStream_t stream_of(Stream stream) { return static_cast<cudaStream_t>(stream); }

inline int blocks_for(int64_t items, int threads) { return int((items + threads - 1) / threads); }

// The layer that a row of the call belongs to.
__device__ __forceinline__ int layer_of(const int* first, int count, int row) {
  int layer = 0;
  while (layer + 1 < count && row >= first[layer + 1]) ++layer;
  return layer;
}

__device__ __forceinline__ bool is_finite(float value) { return fabsf(value) <= 3.4028235e38f; }

__device__ __forceinline__ void report(unsigned long long* status, int layer, int row, Fault fault) {
  atomicMin(status + layer, (static_cast<unsigned long long>(row) << 4) | static_cast<unsigned long long>(fault));
}

// Whoever writes last is as good as any.
__device__ __forceinline__ void report(const GradientFaults& to, Fault kind, bool finite) {
  if (!finite && (to.looked_at >> kind & 1)) to.words[kind] = 1 + to.layer;
}

__device__ __forceinline__ float4 load4(const float* from) { return *reinterpret_cast<const float4*>(from); }
__device__ __forceinline__ float2 load2(const float* from) { return *reinterpret_cast<const float2*>(from); }
__device__ __forceinline__ void store4(float* to, float4 value) { *reinterpret_cast<float4*>(to) = value; }

}  // namespace moegs
