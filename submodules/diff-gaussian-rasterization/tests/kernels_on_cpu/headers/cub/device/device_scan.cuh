// The library's running sum.
#pragma once

#include "cuda_runtime.h"

namespace cub {

struct DeviceScan {
  template <typename From, typename To>
  static cudaError_t InclusiveSum(void* temporary, size_t& bytes, From from, To to, int count, cudaStream_t = nullptr) {
    if (!temporary) return bytes = 1, cudaSuccess;
    auto sum = *to * 0;
    for (int i = 0; i < count; ++i) to[i] = sum += from[i];
    return status_of_call();
  }
};

}  // namespace cub
