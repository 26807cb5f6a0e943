#include "parallel.h"

#include <algorithm>
#include <atomic>

#include "tensors.h"

namespace moegs {

int worker_count() { return int(torch::stable::get_num_threads()); }

void parallel_for(int64_t count, const std::function<void(int64_t item, int worker)>& work) {
  std::atomic<int64_t> next{0};
  const int workers = int(std::min<int64_t>(count, worker_count()));
  torch::stable::parallel_for(0, workers, 1, [&](int64_t begin, int64_t) {
    // A stretch holds several workers' numbers where PyTorch runs fewer threads; its first is as good as any.
    for (int64_t item = next++; item < count; item = next++) work(item, int(begin));
  });
}

}  // namespace moegs
