// The library's stable sort of pairs by some bits of their keys.
#pragma once

#include "cuda_runtime.h"

namespace cub {

struct DeviceRadixSort {
  template <typename Key, typename Value>
  static cudaError_t SortPairs(void* temporary, size_t& bytes, const Key* keys, Key* sorted_keys, const Value* values,
                               Value* sorted_values, int count, int first_bit, int last_bit, cudaStream_t = nullptr) {
    if (!temporary) return bytes = 1, cudaSuccess;
    const auto part = [=](Key key) {
      const uint64_t bits = uint64_t(key) >> first_bit;
      return last_bit - first_bit >= 64 ? bits : bits & ((uint64_t(1) << (last_bit - first_bit)) - 1);
    };
    std::vector<int> order(count);
    for (int i = 0; i < count; ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](int i, int j) { return part(keys[i]) < part(keys[j]); });
    for (int i = 0; i < count; ++i) sorted_keys[i] = keys[order[i]], sorted_values[i] = values[order[i]];
    return status_of_call();
  }
};

}  // namespace cub
