// Lists of each tile's Gaussians, nearest first: all Gaussians are sorted by depth once, their instances are written in
// that order, and a stable sort by (layer, tile) keeps it. Ideas of Splatshop and Faster-GS.
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>

#include <iterator>

#include "ellipse.cuh"

namespace moegs {
namespace {

constexpr int kThreads = 256;
constexpr int kDepthBits = 31;     // a float above 0, read as an integer
constexpr int kSerialTiles = 16;   // of more, a warp writes the instances together
constexpr int64_t kMostShortKeys = 65535;

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

__device__ __forceinline__ int64_t total_of(const BinCall& call) {
  const int rows = call.first[call.count];
  return rows == 0 ? 0 : call.ends[rows - 1];
}

template <typename Key>
struct Writer {
  Key* keys;
  int32_t* values;
  int64_t place, end;
  int32_t row;

  __device__ __forceinline__ void write(int key) {
    if (place >= end) return;
    keys[place] = Key(key);
    values[place++] = row;
  }
};

// One splat's instances by a whole warp, a lane for each row of tiles.
template <typename Key>
__device__ void write_together(const BinCall& call, Key* keys, int32_t* values, int32_t row, int64_t place) {
  const int lane = threadIdx.x % kWarp;
  const Ellipse ellipse(load_shape(call.shapes, row));
  const int4 box = *reinterpret_cast<const int4*>(call.boxes + int64_t(4) * row);
  const int base = layer_of(call.first, call.count, row) * call.tiles;
  for (int top = box.y; top < box.w; top += kWarp) {
    const int tile_row = top + lane;
    int2 met = make_int2(0, 0);
    if (tile_row < box.w) met = ellipse.columns(tile_row, box.x, box.z);
    const int mine = max(0, met.y - met.x);
    int until = mine;  // sum over the lanes up to this one
    for (int step = 1; step < kWarp; step *= 2) {
      const int other = __shfl_up_sync(kAllLanes, until, step);
      if (lane >= step) until += other;
    }
    Writer<Key> writer{keys, values, place + until - mine, place + until, row};
    for (int column = met.x; column < met.y; ++column) writer.write(base + tile_row * call.across + column);
    place += __shfl_sync(kAllLanes, until, kWarp - 1);
  }
}

// Instances in the order of depth; behind the last, or everywhere where they are more than the capacity, padding.
template <typename Key>
__global__ void __launch_bounds__(kThreads)
write_kernel(const __grid_constant__ BinCall call, Key* keys, int32_t* values) {
  const int rows = call.first[call.count];
  int64_t total = total_of(call);
  if (total > call.capacity) total = 0;
  const int64_t k = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  for (int64_t place = total + k; place < call.capacity; place += int64_t(gridDim.x) * kThreads) {
    keys[place] = Key(call.count * call.tiles);
    values[place] = 0;
  }
  if (total == 0) return;
  int32_t row = 0;
  int count = 0;
  int64_t place = 0;
  if (k < rows) {
    row = call.order[k];
    count = call.counts[row];
    place = call.ends[k] - count;
  }
  if (count > 0 && count <= kSerialTiles) {
    const Ellipse ellipse(load_shape(call.shapes, row));
    const int4 box = *reinterpret_cast<const int4*>(call.boxes + int64_t(4) * row);
    const int base = layer_of(call.first, call.count, row) * call.tiles;
    Writer<Key> writer{keys, values, place, place + count, row};
    for (int tile_row = box.y; tile_row < box.w; ++tile_row) {
      const int2 met = ellipse.columns(tile_row, box.x, box.z);
      for (int column = met.x; column < met.y; ++column) writer.write(base + tile_row * call.across + column);
    }
  }
  for (unsigned left = __ballot_sync(kAllLanes, count > kSerialTiles); left; left &= left - 1) {
    const int source = __ffs(left) - 1;
    write_together(call, keys, values, __shfl_sync(kAllLanes, row, source), __shfl_sync(kAllLanes, place, source));
  }
}

// Where each tile's instances begin and end; the first thread also leaves the call's status for the host.
template <typename Key>
__global__ void __launch_bounds__(kThreads) ranges_kernel(const __grid_constant__ BinCall call, const Key* keys) {
  const int64_t place = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (place == 0) {
    call.status[kMostLayers] = total_of(call);
    volatile long long* mail = call.mail;
    for (int word = 0; word < kStatusWords; ++word) mail[1 + word] = static_cast<long long>(call.status[word]);
    __threadfence_system();
    mail[0] = call.sequence;
  }
  if (place >= call.capacity) return;
  const int key = keys[place];
  if (key == call.count * call.tiles) return;
  if (place == 0 || int(keys[place - 1]) != key) call.ranges[2 * key] = int32_t(place);
  if (place + 1 == call.capacity || int(keys[place + 1]) != key) call.ranges[2 * key + 1] = int32_t(place) + 1;
}

int bits_of(int64_t largest) {
  int bits = 1;
  while ((int64_t(1) << bits) <= largest) ++bits;
  return bits;
}

size_t aligned(size_t bytes) { return (bytes + 255) / 256 * 256; }

// Parts of the scratch memory.
template <typename Key>
struct Scratch {
  uint32_t* depths;
  Key *keys, *sorted_keys;
  int32_t* values;
  void* temporary;
  size_t temporary_bytes, bytes;

  Scratch(char* base, int n, int capacity, int64_t largest_key) {
    size_t sort_depth = 0, scan = 0, sort_tile = 0;
    cub::DeviceRadixSort::SortPairs(nullptr, sort_depth, (uint32_t*)nullptr, (uint32_t*)nullptr, (int32_t*)nullptr,
                                    (int32_t*)nullptr, n, 0, kDepthBits);
    cub::DeviceScan::InclusiveSum(nullptr, scan, CountsInOrder{nullptr, nullptr}, (int64_t*)nullptr, n);
    cub::DeviceRadixSort::SortPairs(nullptr, sort_tile, (Key*)nullptr, (Key*)nullptr, (int32_t*)nullptr,
                                    (int32_t*)nullptr, capacity, 0, bits_of(largest_key));
    temporary_bytes = sort_depth > scan ? sort_depth : scan;
    temporary_bytes = sort_tile > temporary_bytes ? sort_tile : temporary_bytes;
    bytes = 0;
    const auto take = [&](size_t size) {
      char* place = base + bytes;
      bytes += aligned(size);
      return place;
    };
    depths = reinterpret_cast<uint32_t*>(take(size_t(n) * sizeof(uint32_t)));
    keys = reinterpret_cast<Key*>(take(size_t(capacity) * sizeof(Key)));
    sorted_keys = reinterpret_cast<Key*>(take(size_t(capacity) * sizeof(Key)));
    values = reinterpret_cast<int32_t*>(take(size_t(capacity) * sizeof(int32_t)));
    temporary = take(temporary_bytes);
  }
};

template <typename Key>
void bin_with(const BinCall& call, cudaStream_t stream) {
  const int n = call.first[call.count], capacity = int(call.capacity);  // as int: CUB's faster offsets
  const int64_t largest_key = int64_t(call.count) * call.tiles;
  Scratch<Key> scratch(call.scratch, n, capacity, largest_key);
  size_t bytes = scratch.temporary_bytes;
  if (n > 0) {
    check(cub::DeviceRadixSort::SortPairs(scratch.temporary, bytes, reinterpret_cast<const uint32_t*>(call.depths),
                                          scratch.depths, call.rows, call.order, n, 0, kDepthBits, stream),
          "sorting by depth");
    check(cub::DeviceScan::InclusiveSum(scratch.temporary, bytes, CountsInOrder{call.counts, call.order}, call.ends, n,
                                        stream),
          "adding up counts");
    write_kernel<<<blocks_for(n, kThreads), kThreads, 0, stream>>>(call, scratch.keys, scratch.values);
    check(cudaGetLastError(), "writing instances");
    check(cub::DeviceRadixSort::SortPairs(scratch.temporary, bytes, scratch.keys, scratch.sorted_keys, scratch.values,
                                          call.instances, capacity, 0, bits_of(largest_key), stream),
          "sorting by tile");
  }
  check(cudaMemsetAsync(call.ranges, 0, largest_key * 2 * sizeof(int32_t), stream), "clearing ranges");
  BinCall counted = call;
  if (n == 0) counted.capacity = 0;
  ranges_kernel<<<blocks_for(call.capacity + 1, kThreads), kThreads, 0, stream>>>(counted, scratch.sorted_keys);
  check(cudaGetLastError(), "finding ranges");
}

}  // namespace

size_t bin_scratch_bytes(int64_t n, int64_t capacity, int layers, int tiles) {
  const int64_t largest_key = int64_t(layers) * tiles;
  return largest_key <= kMostShortKeys ? Scratch<uint16_t>(nullptr, int(n), int(capacity), largest_key).bytes
                                       : Scratch<uint32_t>(nullptr, int(n), int(capacity), largest_key).bytes;
}

void bin(const BinCall& call, Stream stream) {
  if (int64_t(call.count) * call.tiles <= kMostShortKeys) {
    bin_with<uint16_t>(call, stream_of(stream));
  } else {
    bin_with<uint32_t>(call, stream_of(stream));
  }
}

}  // namespace moegs
