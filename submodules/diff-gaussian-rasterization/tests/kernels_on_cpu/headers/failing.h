// Calls of CUDA, and PyTorch's that make tensors, fail when a test says so.
#pragma once

// How many of them still succeed; below 0: all.
extern "C" __attribute__((visibility("default"))) inline int calls_until_failure = -1;

namespace failing {

inline bool may_succeed() {
  if (calls_until_failure > 0) return --calls_until_failure, true;
  return calls_until_failure < 0;
}

}  // namespace failing
