// A stable sort of pairs by the lowest bits of their keys: the library's own kernels, launched so that a few hundred
// thousand pairs keep a GPU busy. The library's parts of 8,832 pairs are made for millions, and it clears its memory
// anew before each pass, which costs as many launches as the passes.
#pragma once

#include <cub/device/device_radix_sort.cuh>

#include "device.cuh"

#if defined(__CUDACC__) && CUB_MAJOR_VERSION == 3 && CUB_MINOR_VERSION == 0 && !defined(MOEGS_WITHOUT_OWN_LAUNCHES)
#define MOEGS_OWN_LAUNCHES
#endif

namespace moegs {

template <typename Key>
struct Pairs {
  const Key* keys;
  const int32_t* values;
  Key* sorted_keys;
  int32_t* sorted_values;
  int count, bits;
};

// As the library does it: any version, any number of pairs. Without scratch memory it only says how much it takes.
template <typename Key>
cudaError_t sort_by_library(void* scratch, size_t& bytes, const Pairs<Key>& pairs, cudaStream_t stream) {
  return cub::DeviceRadixSort::SortPairs(scratch, bytes, pairs.keys, pairs.sorted_keys, pairs.values,
                                         pairs.sorted_values, pairs.count, 0, pairs.bits, stream);
}

#ifdef MOEGS_OWN_LAUNCHES
constexpr bool kOwnLaunches = true;

#ifndef MOEGS_SORT_THREADS
#define MOEGS_SORT_THREADS 256
#define MOEGS_SORT_ITEMS 12
#endif

// What the library's kernels are told of their work.
struct SortPolicy {
  using ActivePolicy = SortPolicy;
  static constexpr int kDigitBits = 8, kDigits = 1 << kDigitBits;
  static constexpr int kThreads = MOEGS_SORT_THREADS, kItems = MOEGS_SORT_ITEMS, kPart = kThreads * kItems;
  static constexpr int kCountThreads = 128, kCountItems = 16;
  template <typename Key>
  struct Of {
    using ActivePolicy = Of;
    using HistogramPolicy = cub::AgentRadixSortHistogramPolicy<kCountThreads, kCountItems, 1, Key, kDigitBits>;
    using ExclusiveSumPolicy = cub::AgentRadixSortExclusiveSumPolicy<kDigits, kDigitBits>;
    using OnesweepPolicy =
        cub::AgentRadixSortOnesweepPolicy<kThreads, kItems, int32_t, 1, cub::RADIX_RANK_MATCH_EARLY_COUNTS_ANY,
                                          cub::BLOCK_SCAN_RAKING_MEMOIZE, cub::RADIX_SORT_STORE_DIRECT, kDigitBits>;
  };
};

// Scratch memory of a sort; the first `cleared` bytes are zeros when it begins.
template <typename Key>
struct SortScratch {
  int passes, parts;
  int *turns, *lookback;  // [passes], [passes, parts, kDigits]
  uint32_t* starts;       // [passes, kDigits]
  Key* keys;
  int32_t* values;
  size_t cleared, bytes;

  SortScratch(char* base, const Pairs<Key>& pairs)
      : passes((pairs.bits + SortPolicy::kDigitBits - 1) / SortPolicy::kDigitBits),
        parts(blocks_for(pairs.count, SortPolicy::kPart)), bytes(0) {
    const auto take = [&](size_t size) {
      char* const place = base + bytes;
      bytes += (size + 255) / 256 * 256;
      return place;
    };
    turns = reinterpret_cast<int*>(take(passes * sizeof(int)));
    starts = reinterpret_cast<uint32_t*>(take(size_t(passes) * SortPolicy::kDigits * sizeof(uint32_t)));
    lookback = reinterpret_cast<int*>(take(size_t(passes) * parts * SortPolicy::kDigits * sizeof(int)));
    cleared = bytes;
    keys = reinterpret_cast<Key*>(take(size_t(pairs.count) * sizeof(Key)));
    values = reinterpret_cast<int32_t*>(take(size_t(pairs.count) * sizeof(int32_t)));
  }
};

inline int multiprocessors() {
  int device = 0, count = 0;
  check(cudaGetDevice(&device), "asking for the device");
  check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device), "asking for multiprocessors");
  return count;
}

template <typename Key>
void sort_by_own_launches(char* memory, const Pairs<Key>& pairs, const char* doing, cudaStream_t stream) {
  using Policy = SortPolicy::Of<Key>;
  using Whole = cub::detail::identity_decomposer_t;
  constexpr auto kAscending = cub::SortOrder::Ascending;
  constexpr int kDigits = SortPolicy::kDigits, kCountThreads = SortPolicy::kCountThreads;
  const SortScratch<Key> scratch(memory, pairs);
  check(cudaMemsetAsync(memory, 0, scratch.cleared, stream), doing);
  const int blocks = min(blocks_for(pairs.count, kCountThreads * SortPolicy::kCountItems), 8 * multiprocessors());
  launch(doing, cub::detail::radix_sort::DeviceRadixSortHistogramKernel<Policy, kAscending, Key, uint32_t, Whole>,
         blocks, kCountThreads, 0, stream, scratch.starts, pairs.keys, uint32_t(pairs.count), 0, pairs.bits, Whole{});
  launch(doing, cub::detail::radix_sort::DeviceRadixSortExclusiveSumKernel<Policy, uint32_t>, scratch.passes, kDigits,
         0, stream, scratch.starts);
  const auto pass_kernel = cub::detail::radix_sort::DeviceRadixSortOnesweepKernel<Policy, kAscending, Key, int32_t,
                                                                                  uint32_t, int, int, Whole>;
  const Key* keys = pairs.keys;
  const int32_t* values = pairs.values;
  for (int pass = 0; pass < scratch.passes; ++pass) {
    const bool to_result = (scratch.passes - pass) % 2 == 1;  // as the last pass does
    Key* const keys_to = to_result ? pairs.sorted_keys : scratch.keys;
    int32_t* const values_to = to_result ? pairs.sorted_values : scratch.values;
    const int first_bit = pass * SortPolicy::kDigitBits;
    launch(doing, pass_kernel, scratch.parts, SortPolicy::kThreads, 0, stream,
           scratch.lookback + size_t(pass) * scratch.parts * kDigits, scratch.turns + pass, (uint32_t*)nullptr,
           scratch.starts + pass * kDigits, keys_to, keys, values_to, values, pairs.count, first_bit,
           min(SortPolicy::kDigitBits, pairs.bits - first_bit), Whole{});
    keys = keys_to;
    values = values_to;
  }
}
#else
constexpr bool kOwnLaunches = false;
#endif

// Of more, the library makes several portions.
constexpr int kMostPairs = (1 << 28) - 1;

template <typename Key>
bool sorts_by_own_launches(const Pairs<Key>& pairs) {
  return kOwnLaunches && pairs.count > 0 && pairs.count <= kMostPairs;
}

template <typename Key>
size_t sort_bytes(const Pairs<Key>& pairs) {
#ifdef MOEGS_OWN_LAUNCHES
  if (sorts_by_own_launches(pairs)) return SortScratch<Key>(nullptr, pairs).bytes;
#endif
  size_t bytes = 0;
  check(sort_by_library<Key>(nullptr, bytes, pairs, nullptr), "asking for a sort's memory");
  return bytes;
}

template <typename Key>
void sort_pairs(void* scratch, size_t bytes, const Pairs<Key>& pairs, const char* doing, cudaStream_t stream) {
#ifdef MOEGS_OWN_LAUNCHES
  if (sorts_by_own_launches(pairs))
    return sort_by_own_launches(static_cast<char*>(scratch), pairs, doing, stream);
#endif
  check(sort_by_library(scratch, bytes, pairs, stream), doing);
}

}  // namespace moegs
