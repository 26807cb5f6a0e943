// Blocks of threads on a CPU: every thread is a fiber, blocks run one after the other. Between barriers the fibers go
// on in an order drawn anew each time, so that where a barrier is missing results change from run to run; what only
// threads at the same moment do to each other is not seen.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

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
