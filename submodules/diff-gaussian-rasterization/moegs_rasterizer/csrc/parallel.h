// Work shared over PyTorch's own threads; a second pool would compete with it for the cores.
#pragma once

#include <cstdint>
#include <functional>

namespace moegs {

// Calls work(item, worker) for every item below count, items handed out one by one to whoever is free.
// 0 <= worker < worker_count(). Which worker gets which item must not matter to the result.
void parallel_for(int64_t count, const std::function<void(int64_t item, int worker)>& work);

int worker_count();

// Calls work(begin, end) for stretches of at most `grain` rows that together cover [0, count).
inline void parallel_rows(int64_t count, int64_t grain, const std::function<void(int64_t begin, int64_t end)>& work) {
  parallel_for((count + grain - 1) / grain, [&](int64_t item, int) {
    const int64_t begin = item * grain;
    work(begin, begin + grain < count ? begin + grain : count);
  });
}

}  // namespace moegs
