#include "parallel.h"

#include <torch/csrc/stable/c/shim.h>

#include <algorithm>
#include <atomic>
#include <exception>

#include "failure.h"

namespace moegs {
namespace {

struct Shared {
  const std::function<void(int64_t item, int worker)>& work;
  int64_t count;
  std::atomic<int64_t> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr failure;
};

// A stretch holds several workers' numbers where PyTorch runs fewer threads; its first is as good as any.
void run(int64_t begin, int64_t, void* context) {
  Shared& shared = *static_cast<Shared*>(context);
  try {
    for (int64_t item = shared.next++; item < shared.count; item = shared.next++) shared.work(item, int(begin));
  } catch (...) {  // none may cross PyTorch's C interface
    if (!shared.failed.exchange(true)) shared.failure = std::current_exception();
  }
}

}  // namespace

int worker_count() {
  uint32_t count = 1;
  require(torch_get_num_threads(&count) == AOTI_TORCH_SUCCESS, "PyTorch does not tell its number of threads");
  return int(count);
}

void parallel_for(int64_t count, const std::function<void(int64_t item, int worker)>& work) {
  Shared shared{work, count, {}, {}, {}};
  const int64_t workers = std::min<int64_t>(count, worker_count());
  const bool ran = torch_parallel_for(0, workers, 1, run, &shared) == AOTI_TORCH_SUCCESS;
  if (shared.failed) std::rethrow_exception(shared.failure);
  require(ran, "PyTorch could not share the work over its threads");
}

}  // namespace moegs
