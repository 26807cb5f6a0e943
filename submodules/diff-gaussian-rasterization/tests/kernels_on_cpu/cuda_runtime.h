// What the CUDA sources use of CUDA, on a CPU: every thread of a block is a fiber, blocks run one after the other. For
// the tests of machines without a GPU. Between barriers the fibers go on in an order drawn anew each time, so that
// where a barrier is missing results change from run to run; what only threads at the same moment do to each other is
// not seen.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __shared__ static

using cudaError_t = int;
using cudaStream_t = void*;
constexpr cudaError_t cudaSuccess = 0;
enum cudaMemcpyKind { cudaMemcpyDeviceToDevice };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
inline const char* cudaGetErrorString(cudaError_t) { return ""; }
inline cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  return std::memset(to, value, bytes), cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t) {
  return std::memcpy(to, from, bytes), cudaSuccess;
}
template <typename Kernel>
cudaError_t cudaFuncSetAttribute(Kernel, cudaFuncAttribute, size_t) {
  return cudaSuccess;
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

namespace fibers {

constexpr int kWarp = 32;
constexpr size_t kStack = 128 * 1024;
constexpr int kWords = 8;  // that a lane can hand to its warp at once

enum class State { kReady, kAtWarp, kAtBlock, kDone };

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  State state = State::kReady;
  unsigned warp_calls = 0, block_calls = 0;
};

struct Block {
  std::vector<Fiber> fibers;
  std::vector<uint32_t> words;  // two turns of kWords a thread
  int votes[3][2];              // of three turns: any, all
  int current;
  ucontext_t scheduler;
  std::function<void()> body;
};
inline Block* block = nullptr;
inline uint32_t drawn = 1;  // goes on from launch to launch
inline std::vector<float4> dynamic_shared;

inline void wait(State state) {
  Fiber& mine = block->fibers[block->current];
  mine.state = state;
  swapcontext(&mine.context, &block->scheduler);
}

inline void start() {
  block->body();
  block->fibers[block->current].state = State::kDone;
  swapcontext(&block->fibers[block->current].context, &block->scheduler);
}

}  // namespace fibers

struct Index {
  unsigned x = 0, y = 0;
};
inline Index threadIdx, blockIdx;
inline dim3 gridDim(1);

namespace fibers {

// Lets those go on that all others of theirs have reached, if all of [first, last) wait for it or are done.
inline bool release(int first, int last, State state) {
  int waiting = 0;
  for (int i = first; i < last; ++i) {
    if (block->fibers[i].state == state) ++waiting;
    else if (block->fibers[i].state != State::kDone) return false;
  }
  for (int i = first; i < last; ++i) {
    if (block->fibers[i].state == state) block->fibers[i].state = State::kReady;
  }
  return waiting > 0;
}

inline void run_block(int threads) {
  for (int i = 0; i < threads; ++i) {
    Fiber& fiber = block->fibers[i];
    fiber.state = State::kReady;
    fiber.warp_calls = fiber.block_calls = 0;
    if (!fiber.stack) fiber.stack.reset(new char[kStack]);
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStack;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, start, 0);
  }
  for (bool going = true; going;) {
    going = false;
    drawn = drawn * 1664525u + 1013904223u;  // Numerical Recipes' quick generator
    const int first = int(drawn >> 8) % threads, step = drawn >> 31 ? 1 : threads - 1;
    for (int turn = 0, i = first; turn < threads; ++turn, i = (i + step) % threads) {
      if (block->fibers[i].state != State::kReady) continue;
      going = true;
      block->current = i;
      threadIdx.x = unsigned(i);
      swapcontext(&block->scheduler, &block->fibers[i].context);
    }
    for (int first = 0; first < threads; first += kWarp)
      going |= release(first, std::min(first + kWarp, threads), State::kAtWarp);
    going |= release(0, threads, State::kAtBlock);
  }
  for (int i = 0; i < threads; ++i) {
    if (block->fibers[i].state == State::kDone) continue;
    std::fprintf(stderr, "a barrier that not all threads reach\n");
    std::abort();
  }
}

// Every lane's words; a lane that is done counts as zeros.
inline const uint32_t* exchange(const uint32_t* words, int count) {
  const int me = block->current, first = me / kWarp * kWarp;
  const int turn = int(block->fibers[me].warp_calls++ % 2) * int(block->fibers.size()) * kWords;
  std::copy(words, words + count, &block->words[turn + me * kWords]);
  wait(State::kAtWarp);
  return &block->words[turn + first * kWords];
}

template <typename Value>
Value from_lane(Value value, int lane) {
  static_assert(sizeof value % 4 == 0);
  uint32_t words[sizeof value / 4];
  std::memcpy(words, &value, sizeof value);
  const uint32_t* all = exchange(words, sizeof value / 4);
  Value found;
  std::memcpy(&found, all + lane * kWords, sizeof found);
  return found;
}

inline unsigned vote(bool value) {
  const uint32_t word = value;
  const uint32_t* all = exchange(&word, 1);
  const int first = block->current / kWarp * kWarp;
  unsigned bits = 0;
  for (int lane = 0; lane < kWarp && first + lane < int(block->fibers.size()); ++lane) {
    if (block->fibers[first + lane].state != State::kDone && all[lane * kWords]) bits |= 1u << lane;
  }
  return bits;
}

inline bool vote_of_block(bool value, bool any) {
  Fiber& mine = block->fibers[block->current];
  const int turn = int(mine.block_calls++ % 3);
  int* votes = block->votes[turn];
  votes[0] |= value;
  votes[1] &= value;
  wait(State::kAtBlock);
  const bool found = votes[any ? 0 : 1] != 0;
  // Of the turn after next: the quickest may already have voted in the next, and the slowest have read the last.
  int* later = block->votes[(turn + 2) % 3];
  later[0] = 0, later[1] = 1;
  return found;
}

}  // namespace fibers

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

#define MOEGS_DYNAMIC_SHARED(type, name) type* const name = reinterpret_cast<type*>(fibers::dynamic_shared.data())

namespace moegs {

template <typename... Parameters, typename... Arguments>
void launch(const char*, void (*kernel)(Parameters...), dim3 blocks, int threads, size_t bytes, cudaStream_t,
            const Arguments&... arguments) {
  fibers::Block block;
  block.fibers.resize(threads);
  block.words.resize(size_t(2) * threads * fibers::kWords);
  block.body = [&] { kernel(arguments...); };
  fibers::dynamic_shared.assign(bytes / sizeof(float4) + 1, float4{NAN, NAN, NAN, NAN});
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
