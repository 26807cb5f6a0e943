// A stable sort of pairs by the lowest bits of their keys: the library's own kernels, launched so that a few hundred
// thousand pairs keep a GPU busy. The library's parts are made for millions of pairs, and it clears its memory anew
// before each pass, which costs as many launches as the passes. Other versions of the library sort as it does itself.
#pragma once

#include <cub/device/device_radix_sort.cuh>

#include <type_traits>

#include "device.cuh"

#if defined(__CUDACC__) && CUB_MAJOR_VERSION == 3 && CUB_MINOR_VERSION == 0
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
constexpr int kMostPairs = (1 << 28) - 1;  // of more, the library makes several portions

// A block sorts one part, and waits for what the parts before it counted: many small parts wait long, few large ones
// leave multiprocessors idle.
template <int threads, int pairs_a_thread>
struct Part {
  static constexpr int kThreads = threads, kItems = pairs_a_thread, kPairs = threads * pairs_a_thread;
};

// Calls work(a Part) with what was fastest on an H200: of 32-bit keys 200,000, 800,000 and 1,000,000, of 16-bit ones
// 880,000 and more.
template <typename Key, typename Work>
auto with_part(int count, const Work& work) {
  constexpr int kFewPairs = 400'000, kMultiprocessors = 132;
  using Few = Part<256, 12>;
  using Many = Part<512, 12>;
  if constexpr (sizeof(Key) == sizeof(uint64_t)) {
    return work(Few{});  // larger parts do not fit into shared memory
  } else if constexpr (sizeof(Key) == sizeof(uint16_t)) {
    return count <= kFewPairs ? work(Few{}) : work(Part<512, 17>{});  // the library's own size
  } else {
    if (count <= kFewPairs) return work(Few{});
    return count <= kMultiprocessors * Many::kPairs ? work(Many{}) : work(Part<384, 23>{});  // the library's own size
  }
}

constexpr int kDigitBits = 8, kDigits = 1 << kDigitBits;
constexpr int kCountThreads = 128, kCountItems = 16;

// What the library's kernels are told of their work.
template <typename Key, typename Size>
struct SortPolicy {
  using ActivePolicy = SortPolicy;
  using HistogramPolicy = cub::AgentRadixSortHistogramPolicy<kCountThreads, kCountItems, 1, Key, kDigitBits>;
  using ExclusiveSumPolicy = cub::AgentRadixSortExclusiveSumPolicy<kDigits, kDigitBits>;
  using OnesweepPolicy =
      cub::AgentRadixSortOnesweepPolicy<Size::kThreads, Size::kItems, int32_t, 1,
                                        cub::RADIX_RANK_MATCH_EARLY_COUNTS_ANY, cub::BLOCK_SCAN_RAKING_MEMOIZE,
                                        cub::RADIX_SORT_STORE_DIRECT, kDigitBits>;
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
      : passes((pairs.bits + kDigitBits - 1) / kDigitBits),
        parts(with_part<Key>(pairs.count, [&](auto part) { return blocks_for(pairs.count, part.kPairs); })), bytes(0) {
    const auto take = [&](size_t size) {
      char* const place = base + bytes;
      bytes += (size + 255) / 256 * 256;
      return place;
    };
    turns = reinterpret_cast<int*>(take(passes * sizeof(int)));
    starts = reinterpret_cast<uint32_t*>(take(size_t(passes) * kDigits * sizeof(uint32_t)));
    lookback = reinterpret_cast<int*>(take(size_t(passes) * parts * kDigits * sizeof(int)));
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
bool sorts_by_own_launches(const Pairs<Key>& pairs) {
  return pairs.count > 0 && pairs.count <= kMostPairs;
}

// The passes, a digit each, once it is known where each digit begins.
template <typename Key, typename Size>
void sort_digits(const SortScratch<Key>& scratch, const Pairs<Key>& pairs, const char* doing, cudaStream_t stream) {
  using Whole = cub::detail::identity_decomposer_t;
  const auto kernel =
      cub::detail::radix_sort::DeviceRadixSortOnesweepKernel<SortPolicy<Key, Size>, cub::SortOrder::Ascending, Key,
                                                             int32_t, uint32_t, int, int, Whole>;
  const Key* keys = pairs.keys;
  const int32_t* values = pairs.values;
  for (int pass = 0; pass < scratch.passes; ++pass) {
    const bool to_result = (scratch.passes - pass) % 2 == 1;  // as the last pass does
    Key* const keys_to = to_result ? pairs.sorted_keys : scratch.keys;
    int32_t* const values_to = to_result ? pairs.sorted_values : scratch.values;
    const int first_bit = pass * kDigitBits;
    launch(doing, kernel, scratch.parts, Size::kThreads, 0, stream,
           scratch.lookback + size_t(pass) * scratch.parts * kDigits, scratch.turns + pass, (uint32_t*)nullptr,
           scratch.starts + pass * kDigits, keys_to, keys, values_to, values, pairs.count, first_bit,
           min(kDigitBits, pairs.bits - first_bit), Whole{});
    keys = keys_to;
    values = values_to;
  }
}

template <typename Key>
void sort_by_own_launches(char* memory, const Pairs<Key>& pairs, const char* doing, cudaStream_t stream) {
  using Policy = SortPolicy<Key, Part<256, 12>>;  // of which counting reads no size of parts
  using Whole = cub::detail::identity_decomposer_t;
  constexpr auto kAscending = cub::SortOrder::Ascending;
  const SortScratch<Key> scratch(memory, pairs);
  check(cudaMemsetAsync(memory, 0, scratch.cleared, stream), doing);
  const int blocks = min(blocks_for(pairs.count, kCountThreads * kCountItems), 8 * multiprocessors());
  launch(doing, cub::detail::radix_sort::DeviceRadixSortHistogramKernel<Policy, kAscending, Key, uint32_t, Whole>,
         blocks, kCountThreads, 0, stream, scratch.starts, pairs.keys, uint32_t(pairs.count), 0, pairs.bits, Whole{});
  launch(doing, cub::detail::radix_sort::DeviceRadixSortExclusiveSumKernel<Policy, uint32_t>, scratch.passes, kDigits,
         0, stream, scratch.starts);
  with_part<Key>(pairs.count, [&](auto part) { sort_digits<Key, decltype(part)>(scratch, pairs, doing, stream); });
}
#endif

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
