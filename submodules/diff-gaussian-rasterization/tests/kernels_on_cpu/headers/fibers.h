// Blocks of threads on a CPU: every thread is a fiber, blocks run one after the other. Between barriers the fibers go
// on in an order drawn anew each time, so that where a barrier is missing results change from run to run; what only
// threads at the same moment do to each other is not seen.
#pragma once

#include <setjmp.h>
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
  jmp_buf place;  // where it goes on
  std::unique_ptr<char[]> stack;
  State state = State::kReady;
  unsigned warp_calls = 0, block_calls = 0;
};
inline std::vector<Fiber> fibers;  // of all launches: most of a small kernel's time would go into new stacks

struct Block {
  int threads;
  std::vector<uint32_t> words;  // two turns of kWords a thread
  int votes[3][2];              // of three turns: any, all
  int current;
  jmp_buf scheduler;
  std::function<void()> body;
};
inline Block* block = nullptr;
inline uint32_t drawn = 1;  // goes on from launch to launch

// Leaves `here` for `there`, until someone comes back. swapcontext would ask the system for its signals each time.
inline void leave(jmp_buf& here, jmp_buf& there) {
  if (!_setjmp(here)) _longjmp(there, 1);
}

inline void wait(State state) {
  Fiber& mine = fibers[block->current];
  mine.state = state;
  leave(mine.place, block->scheduler);
}

inline void run_bodies() {
  for (;;) {
    block->body();
    wait(State::kDone);
  }
}

// Runs a fiber until it waits; on a stack of its own from the first time on.
inline void enter(Fiber& fiber) {
  if (fiber.stack) return leave(block->scheduler, fiber.place);
  fiber.stack.reset(new char[kStack]);
  ucontext_t fresh;
  getcontext(&fresh);
  fresh.uc_stack.ss_sp = fiber.stack.get();
  fresh.uc_stack.ss_size = kStack;
  fresh.uc_link = nullptr;
  makecontext(&fresh, run_bodies, 0);
  if (!_setjmp(block->scheduler)) setcontext(&fresh);
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
    if (fibers[i].state == state) ++waiting;
    else if (fibers[i].state != State::kDone) return false;
  }
  for (int i = first; i < last; ++i) {
    if (fibers[i].state == state) fibers[i].state = State::kReady;
  }
  return waiting > 0;
}

inline void run_block(int threads) {
  for (int i = 0; i < threads; ++i) {
    fibers[i].state = State::kReady;
    fibers[i].warp_calls = fibers[i].block_calls = 0;
  }
  for (bool going = true; going;) {
    going = false;
    drawn = drawn * 1664525u + 1013904223u;  // Numerical Recipes' quick generator
    const int first = int(drawn >> 8) % threads, step = drawn >> 31 ? 1 : threads - 1;
    for (int turn = 0, i = first; turn < threads; ++turn, i = (i + step) % threads) {
      if (fibers[i].state != State::kReady) continue;
      going = true;
      block->current = i;
      threadIdx.x = unsigned(i);
      enter(fibers[i]);
    }
    for (int first = 0; first < threads; first += kWarp)
      going |= release(first, std::min(first + kWarp, threads), State::kAtWarp);
    going |= release(0, threads, State::kAtBlock);
  }
  for (int i = 0; i < threads; ++i) {
    if (fibers[i].state == State::kDone) continue;
    std::fprintf(stderr, "a barrier that not all threads reach\n");
    std::abort();
  }
}

// Every lane's words; a lane that is done counts as zeros.
inline const uint32_t* exchange(const uint32_t* words, int count) {
  const int me = block->current, first = me / kWarp * kWarp;
  const int turn = int(fibers[me].warp_calls++ % 2) * block->threads * kWords;
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
  for (int lane = 0; lane < kWarp && first + lane < block->threads; ++lane) {
    if (fibers[first + lane].state != State::kDone && all[lane * kWords]) bits |= 1u << lane;
  }
  return bits;
}

inline bool vote_of_block(bool value, bool any) {
  Fiber& mine = fibers[block->current];
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
