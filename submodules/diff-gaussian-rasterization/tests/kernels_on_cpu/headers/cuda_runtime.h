// What the CUDA sources use of CUDA, on a CPU, for the tests of machines without a GPU: fibers.h plays the threads.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "failing.h"
#include "fibers.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __shared__ static

using cudaError_t = int;
using cudaStream_t = void*;
constexpr cudaError_t cudaSuccess = 0, cudaErrorLaunchFailure = 719;
inline cudaError_t last_error = cudaSuccess;
inline cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
inline cudaError_t status_of_call() {
  return failing::may_succeed() ? cudaSuccess : last_error = cudaErrorLaunchFailure;
}
enum cudaMemcpyKind { cudaMemcpyDeviceToDevice, cudaMemcpyHostToDevice };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
inline const char* cudaGetErrorString(cudaError_t) { return "unspecified launch failure"; }
inline cudaError_t cudaGetDevice(int* device) { return *device = 0, status_of_call(); }
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  return std::memset(to, value, bytes), status_of_call();
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t) {
  return std::memcpy(to, from, bytes), status_of_call();
}
template <typename Kernel>
cudaError_t cudaFuncSetAttribute(Kernel, cudaFuncAttribute, size_t) {
  return status_of_call();
}

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3(unsigned x, unsigned y = 1) : x(x), y(y) {}
};
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }

using std::max;
using std::min;

inline float __fmul_rn(float a, float b) { volatile float c = a * b; return c; }
inline float __fadd_rn(float a, float b) { volatile float c = a + b; return c; }
inline float __fsub_rn(float a, float b) { volatile float c = a - b; return c; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fdividef(float a, float b) { return a / b; }
template <typename To, typename From>
To same_bits(From value) {
  To found;
  static_assert(sizeof found == sizeof value);
  std::memcpy(&found, &value, sizeof found);
  return found;
}
inline uint32_t __float_as_uint(float value) { return same_bits<uint32_t>(value); }
inline float __uint_as_float(uint32_t value) { return same_bits<float>(value); }
inline float __int_as_float(int32_t value) { return same_bits<float>(value); }
inline int __popc(unsigned value) { return __builtin_popcount(value); }
inline int __ffs(unsigned value) { return __builtin_ffs(int(value)); }

inline std::vector<float4> dynamic_shared;  // of a block
inline dim3 gridDim(1);

inline int lane_here() { return int(threadIdx.x) % fibers::kWarp; }
inline void __syncwarp() { fibers::vote(true); }
inline void __syncthreads() { fibers::vote_of_block(true, true); }
inline int __syncthreads_and(bool value) { return fibers::vote_of_block(value, false); }
inline int __syncthreads_or(bool value) { return fibers::vote_of_block(value, true); }
inline unsigned __ballot_sync(unsigned, bool value) { return fibers::vote(value); }
inline bool __all_sync(unsigned, bool value) { return fibers::vote(!value) == 0; }
template <typename Value>
Value __shfl_sync(unsigned, Value value, int lane) { return fibers::from_lane(value, lane); }
template <typename Value>
Value __shfl_up_sync(unsigned, Value value, int step) {
  const int from = lane_here() - step;
  return fibers::from_lane(value, from < 0 ? lane_here() : from);
}
inline void __threadfence_system() {}
template <typename Value>
void atomicMin(Value* to, Value value) { *to = std::min(*to, value); }

#define MOEGS_DYNAMIC_SHARED(type, name) type* const name = reinterpret_cast<type*>(dynamic_shared.data())

namespace moegs {

inline void check(cudaError_t status, const char* doing);

template <typename... Parameters, typename... Arguments>
void launch(const char* doing, void (*kernel)(Parameters...), dim3 blocks, int threads, size_t bytes, cudaStream_t,
            const Arguments&... arguments) {
  status_of_call();
  check(cudaGetLastError(), doing);
  fibers::Block block;
  block.threads = threads;
  if (fibers::fibers.size() < size_t(threads)) fibers::fibers.resize(threads);
  block.words.resize(size_t(2) * threads * fibers::kWords);
  block.body = [&] { kernel(arguments...); };
  dynamic_shared.assign(bytes / sizeof(float4) + 1, float4{NAN, NAN, NAN, NAN});
  fibers::block = &block;
  gridDim = blocks;
  for (blockIdx.y = 0; blockIdx.y < blocks.y; ++blockIdx.y) {
    for (blockIdx.x = 0; blockIdx.x < blocks.x; ++blockIdx.x) {
      for (auto& votes : block.votes) votes[0] = 0, votes[1] = 1;
      fibers::run_block(threads);
    }
  }
  fibers::block = nullptr;
}

inline float exp2_quick(float value) { return std::exp2(value); }
inline float root(float value) { return std::sqrt(value); }

// Pairs of half-precision numbers: floats, rounded after each step as IEEE's halves are.
inline float rounded_to_half(float value) {
  if (std::isnan(value)) return value;
  if (std::fabs(value) >= 65520) return std::copysign(INFINITY, value);
  int exponent;
  std::frexp(value, &exponent);
  const float unit = std::ldexp(1.0f, std::max(exponent - 11, -24));
  return std::nearbyint(value / unit) * unit;
}
struct Half2 { float low, high; };
inline Half2 halves(float low, float high) { return {rounded_to_half(low), rounded_to_half(high)}; }
inline float2 floats_of(Half2 pair) { return {pair.low, pair.high}; }
inline Half2 lows(Half2 pair) { return {pair.low, pair.low}; }
inline Half2 highs(Half2 pair) { return {pair.high, pair.high}; }
inline Half2 times(Half2 a, Half2 b) { return halves(a.low * b.low, a.high * b.high); }
inline Half2 fused(Half2 a, Half2 b, Half2 c) { return halves(a.low * b.low + c.low, a.high * b.high + c.high); }
inline Half2 less(Half2 a, Half2 b, Half2 c) { return halves(c.low - a.low * b.low, c.high - a.high * b.high); }
inline Half2 smaller(Half2 a, Half2 b) { return {std::fmin(a.low, b.low), std::fmin(a.high, b.high)}; }
inline Half2 exp2_quick(Half2 value) { return halves(std::exp2(value.low), std::exp2(value.high)); }
inline Half2 where_at_least(Half2 a, Half2 b, Half2 value) {
  return {a.low >= b.low ? value.low : 0, a.high >= b.high ? value.high : 0};
}

inline void copy_ahead(float* shared, const float* from) { *shared = *from; }
inline void wait_for_copies() {}

inline void add2(float* to, float2 value) {
  to[0] += value.x;
  to[1] += value.y;
}

// mma.m16n8k8 of tf32: the PTX manual says which lane holds what. Bits behind the eleven leading ones are dropped.
template <typename Product>
void multiply(Product& to, const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  const uint32_t mine[6] = {a[0], a[1], a[2], a[3], b0, b1};
  const uint32_t* all = fibers::exchange(mine, 6);
  const auto number = [&](int lane, int word) {
    return __uint_as_float(all[lane * fibers::kWords + word] & 0xffffe000u);
  };
  const int lane = lane_here();
  for (int which = 0; which < 2; ++which) {
    for (int next = 0; next < 2; ++next) {
      const int row = lane / 4, column = lane % 4 * 2 + next;
      for (int k = 0; k < 8; ++k)
        to.sums[which][next] += number(row * 4 + k % 4, which + k / 4 * 2) * number(column * 4 + k % 4, 4 + k / 4);
    }
  }
}

}  // namespace moegs
