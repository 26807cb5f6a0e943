// The library's stable sort of pairs, with parts small enough that a few hundred thousand pairs keep a GPU busy: the
// library's own parts of 8,832 pairs are made for millions.
#pragma once

#include <cub/device/device_radix_sort.cuh>

#include <cstdint>

#include "device.cuh"

namespace moegs {

#if defined(__CUDACC__) && CUB_MAJOR_VERSION == 3 && CUB_MINOR_VERSION == 0 && !defined(MOEGS_WITHOUT_SMALL_PARTS)
constexpr int kSortThreads = 256, kSortItems = 12;

// The library's choices for a GPU, but for the size of the parts.
template <typename Key>
struct SmallParts {
  using Library = cub::detail::radix::policy_hub<Key, int32_t, uint32_t>;
  using Sizes = cub::detail::radix::sm90_small_key_tuning<sizeof(Key), sizeof(int32_t), sizeof(uint32_t)>;
  struct MaxPolicy : cub::ChainedPolicy<900, MaxPolicy, typename Library::Policy800>,
                     Library::template OnesweepSmallKeyTunedPolicy<Sizes> {
    using OnesweepPolicy =
        cub::AgentRadixSortOnesweepPolicy<kSortThreads, kSortItems, int32_t, 1, cub::RADIX_RANK_MATCH_EARLY_COUNTS_ANY,
                                          cub::BLOCK_SCAN_RAKING_MEMOIZE, cub::RADIX_SORT_STORE_DIRECT, 8>;
  };
};

// As cub::DeviceRadixSort::SortPairs.
template <typename Key>
cudaError_t sort_pairs(void* scratch, size_t& bytes, const Key* keys, Key* sorted_keys, const int32_t* values,
                       int32_t* sorted_values, int count, int bits, cudaStream_t stream = nullptr) {
  cub::DoubleBuffer<Key> both_keys(const_cast<Key*>(keys), sorted_keys);  // what is given is not written
  cub::DoubleBuffer<int32_t> both_values(const_cast<int32_t*>(values), sorted_values);
  return cub::DispatchRadixSort<cub::SortOrder::Ascending, Key, int32_t, uint32_t, cub::detail::identity_decomposer_t,
                                SmallParts<Key>>::Dispatch(scratch, bytes, both_keys, both_values, uint32_t(count), 0,
                                                           bits, false, stream);
}
#else
template <typename Key>
cudaError_t sort_pairs(void* scratch, size_t& bytes, const Key* keys, Key* sorted_keys, const int32_t* values,
                       int32_t* sorted_values, int count, int bits, cudaStream_t stream = nullptr) {
  return cub::DeviceRadixSort::SortPairs(scratch, bytes, keys, sorted_keys, values, sorted_values, count, 0, bits,
                                         stream);
}
#endif

}  // namespace moegs
