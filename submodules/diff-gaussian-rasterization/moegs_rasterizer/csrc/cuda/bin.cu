// Lists of each tile's Gaussians, nearest first: all Gaussians are sorted by depth once, their instances are written in
// that order, and a stable sort by (layer, tile) keeps it. Ideas of Splatshop and Faster-GS.
#include <cub/device/device_scan.cuh>

#include <iterator>

#include "instances.cuh"
#include "sort.cuh"

namespace moegs {

// counts[order[k]] as a sequence.
struct CountsInOrder {
  using iterator_category = std::random_access_iterator_tag;
  using value_type = int64_t;
  using difference_type = std::ptrdiff_t;
  using pointer = const int64_t*;
  using reference = int64_t;

  const int32_t *counts, *order;

  __host__ __device__ reference operator[](difference_type k) const { return counts[order[k]]; }
  __host__ __device__ reference operator*() const { return (*this)[0]; }
  __host__ __device__ CountsInOrder operator+(difference_type k) const { return {counts, order + k}; }
  __host__ __device__ CountsInOrder operator-(difference_type k) const { return {counts, order - k}; }
  __host__ __device__ difference_type operator-(const CountsInOrder& other) const { return order - other.order; }
  __host__ __device__ CountsInOrder& operator++() { return ++order, *this; }
  __host__ __device__ CountsInOrder& operator+=(difference_type k) { return order += k, *this; }
  __host__ __device__ bool operator==(const CountsInOrder& other) const { return order == other.order; }
  __host__ __device__ bool operator!=(const CountsInOrder& other) const { return order != other.order; }
};

namespace {

constexpr int64_t kMostShortKeys = 65535;

// Keys that a thread of ranges_kernel looks at, which it reads at once.
template <typename Key>
struct alignas(16) Run {
  static constexpr int kKeys = 16 / sizeof(Key);
  Key key[kKeys];

  // What lies behind the last key counts as that key.
  __device__ __forceinline__ Run(const Key* keys, int64_t first, int64_t count) {
    if (first + kKeys <= count) {
      *reinterpret_cast<int4*>(key) = *reinterpret_cast<const int4*>(keys + first);
    } else {
      for (int k = 0; k < kKeys; ++k) key[k] = keys[first + k < count ? first + k : count - 1];
    }
  }
};

// Where each tile's instances begin and end; the first thread also leaves the call's status for the host.
template <typename Key>
__global__ void __launch_bounds__(kThreads) ranges_kernel(const __grid_constant__ BinCall call, const Key* keys) {
  constexpr int kKeys = Run<Key>::kKeys;
  const int64_t first = (int64_t(blockIdx.x) * kThreads + threadIdx.x) * kKeys;
  if (first == 0) {
    call.status[kMostLayers] = total_of(call);
    if (call.mail) {
      volatile long long* mail = call.mail;
      for (int word = 0; word < kStatusWords; ++word) mail[1 + word] = static_cast<long long>(call.status[word]);
      __threadfence_system();
      mail[0] = call.sequence;
    }
  }
  if (first >= call.capacity) return;
  const int padding = call.count * call.tiles;
  const Run<Key> run(keys, first, call.capacity);
  int before = first == 0 ? padding : cell_of(keys[first - 1]);
#pragma unroll
  for (int k = 0; k < kKeys; ++k) {
    const int cell = cell_of(run.key[k]);
    if (cell != before) {
      if (before != padding) call.ranges[2 * before + 1] = int32_t(first) + k;
      if (cell != padding) call.ranges[2 * cell] = int32_t(first) + k;
    }
    before = cell;
  }
  if (first + kKeys >= call.capacity && before != padding) call.ranges[2 * before + 1] = int32_t(call.capacity);
}

template <typename Key>
int key_bits(int64_t largest_cell) {
  int bits = 1;
  while ((int64_t(1) << bits) <= largest_cell) ++bits;
  return bits + (sizeof(Key) == sizeof(uint64_t) ? kDepthBits : 0);
}

// Parts of the scratch memory.
template <typename Key>
struct Parts {
  uint32_t* depths;
  Key *keys, *sorted_keys;
  int32_t* rows;
  void* sorting;
  size_t bytes;

  Parts(char* base, int n, int capacity, size_t sorting_bytes) {
    bytes = 0;
    const auto take = [&](size_t size) {
      char* place = base + bytes;
      bytes += (size + 255) / 256 * 256;
      return place;
    };
    depths = reinterpret_cast<uint32_t*>(take(size_t(n) * sizeof(uint32_t)));
    keys = reinterpret_cast<Key*>(take(size_t(capacity) * sizeof(Key)));
    sorted_keys = reinterpret_cast<Key*>(take(size_t(capacity) * sizeof(Key)));
    rows = reinterpret_cast<int32_t*>(take(size_t(capacity) * sizeof(int32_t)));
    sorting = take(sorting_bytes);
  }
};

template <typename Key>
BinScratch scratch_with(int n, int capacity, int64_t largest_cell) {
  const size_t by_depth = sort_bytes(Pairs<uint32_t>{nullptr, nullptr, nullptr, nullptr, n, kDepthBits});
  const size_t by_tile =
      sort_bytes(Pairs<Key>{nullptr, nullptr, nullptr, nullptr, capacity, key_bits<Key>(largest_cell)});
  size_t scan = 0;
  cub::DeviceScan::InclusiveSum(nullptr, scan, CountsInOrder{nullptr, nullptr}, (int64_t*)nullptr, n);
  const size_t most = by_depth > scan ? by_depth : scan, sorting = by_tile > most ? by_tile : most;
  return {Parts<Key>(nullptr, n, capacity, sorting).bytes, sorting};
}

template <typename Key>
void bin_with(const BinCall& call, cudaStream_t stream) {
  const int n = call.first[call.count], capacity = int(call.capacity);  // as int: CUB's faster offsets
  const int64_t largest_cell = int64_t(call.count) * call.tiles;
  const Parts<Key> scratch(call.scratch, n, capacity, call.sorting);
  size_t bytes = call.sorting;
  if (n > 0) {
    if (kSeparateSorts) {
      const bool all_bits = call.short_depths == nullptr;
      const uint32_t* keys = all_bits ? reinterpret_cast<const uint32_t*>(call.depths) : call.short_depths;
      const int bits = all_bits ? kDepthBits : kShortDepthBits;
      sort_pairs(scratch.sorting, bytes, Pairs<uint32_t>{keys, call.rows, scratch.depths, call.order, n, bits},
                 "sorting by depth", stream);
    } else {
      check(cudaMemcpyAsync(call.order, call.rows, n * sizeof(*call.order), cudaMemcpyDeviceToDevice, stream),
            "copying rows");
    }
    check(cub::DeviceScan::InclusiveSum(scratch.sorting, bytes, CountsInOrder{call.counts, call.order}, call.ends, n,
                                        stream),
          "adding up counts");
    const Target<Key> target{scratch.keys, scratch.rows};
    launch("writing instances", write_kernel<Key>, blocks_for(n, kThreads), kThreads, 0, stream, call, target);
    sort_pairs(scratch.sorting, bytes,
               Pairs<Key>{scratch.keys, scratch.rows, scratch.sorted_keys, call.instances, capacity,
                          key_bits<Key>(largest_cell)},
               "sorting by tile", stream);
  } else {
    check(cudaMemsetAsync(call.ranges, 0, largest_cell * 2 * sizeof(int32_t), stream), "clearing ranges");
  }
  BinCall counted = call;
  if (n == 0) counted.capacity = 0;
  launch("finding ranges", ranges_kernel<Key>, blocks_for(counted.capacity + 1, kThreads * Run<Key>::kKeys), kThreads,
         0, stream, counted, scratch.sorted_keys);
}

}  // namespace

BinScratch bin_scratch(int64_t n, int64_t capacity, int layers, int tiles) {
  const int64_t largest_cell = int64_t(layers) * tiles;
  if constexpr (!kSeparateSorts) return scratch_with<uint64_t>(int(n), int(capacity), largest_cell);
  const auto scratch = largest_cell <= kMostShortKeys ? scratch_with<uint16_t> : scratch_with<uint32_t>;
  return scratch(int(n), int(capacity), largest_cell);
}

void bin(const BinCall& call, Stream stream) {
  if constexpr (!kSeparateSorts) {
    bin_with<uint64_t>(call, stream_of(stream));
  } else if (int64_t(call.count) * call.tiles <= kMostShortKeys) {
    bin_with<uint16_t>(call, stream_of(stream));
  } else {
    bin_with<uint32_t>(call, stream_of(stream));
  }
}

}  // namespace moegs
