// Lists of each tile's Gaussians, nearest first: all Gaussians are sorted by depth once, their instances are written in
// that order, and a stable sort by (layer, tile) keeps it. Ideas of Splatshop and Faster-GS.
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>

#include <iterator>

#include "ellipse.cuh"

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

constexpr int kThreads = 256;
constexpr int kDepthBits = 31;     // a float above 0, read as an integer
constexpr int kSerialTiles = 16;   // of more, a warp writes the instances together
constexpr int kStaged = 4096;      // instances of a block that pass through its shared memory
constexpr int64_t kMostShortKeys = 65535;

__device__ __forceinline__ int64_t total_of(const BinCall& call) {
  const int rows = call.first[call.count];
  return rows == 0 ? 0 : call.ends[rows - 1];
}

// Where instances go: straight to memory, or first to a block's shared memory.
template <typename Key>
struct Target {
  Key* keys;
  int32_t* rows;
};

// One Gaussian's instances in [place, end) of the target.
template <typename Key>
struct Writer {
  Target<Key> to;
  int64_t place, end;
  int32_t row;

  __device__ __forceinline__ void write(int first_key, int2 columns) {
    for (int column = columns.x; column < columns.y && place < end; ++column) {
      to.keys[place] = Key(first_key + column);
      to.rows[place++] = row;
    }
  }
};

__device__ __forceinline__ int4 box_of(const BinCall& call, int32_t row) {
  return *reinterpret_cast<const int4*>(call.boxes + int64_t(4) * row);
}

template <typename Key>
__device__ void write_alone(const BinCall& call, Target<Key> to, int32_t row, int64_t place, int count) {
  const Ellipse ellipse(load_shape(call.shapes, row));
  const int4 box = box_of(call, row);
  const int base = layer_of(call.first, call.count, row) * call.tiles;
  Writer<Key> writer{to, place, place + count, row};
  for (int tile_row = box.y; tile_row < box.w; ++tile_row)
    writer.write(base + tile_row * call.across, ellipse.columns(tile_row, box.x, box.z));
}

// The same by a whole warp, a lane for each row of tiles.
template <typename Key>
__device__ void write_together(const BinCall& call, Target<Key> to, int32_t row, int64_t place) {
  const int lane = threadIdx.x % kWarp;
  const Ellipse ellipse(load_shape(call.shapes, row));
  const int4 box = box_of(call, row);
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
    Writer<Key>{to, place + until - mine, place + until, row}.write(base + tile_row * call.across, met);
    place += __shfl_sync(kAllLanes, until, kWarp - 1);
  }
}

// Padding behind the last instance, and everywhere where they are more than the capacity.
template <typename Key>
__device__ void write_padding(const BinCall& call, Target<Key> to, int64_t from) {
  const int64_t thread = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  for (int64_t place = from + thread; place < call.capacity; place += int64_t(gridDim.x) * kThreads) {
    to.keys[place] = Key(call.count * call.tiles);
    to.rows[place] = 0;
  }
}

// Instances in the order of depth. Those of a block lie together: they are put in order in shared memory and written
// side by side, unless they are too many.
template <typename Key>
__global__ void __launch_bounds__(kThreads) write_kernel(const __grid_constant__ BinCall call, Target<Key> to) {
  __shared__ Key keys[kStaged];
  __shared__ int32_t rows[kStaged];
  const int n = call.first[call.count], first = blockIdx.x * kThreads;
  const int64_t total = total_of(call);
  write_padding(call, to, total > call.capacity ? 0 : total);
  if (total > call.capacity) return;
  const int64_t begin = first == 0 ? 0 : call.ends[first - 1], end = call.ends[min(first + kThreads, n) - 1];
  const bool staged = end - begin <= kStaged;
  const Target<Key> target = staged ? Target<Key>{keys, rows} : to;
  const int k = first + threadIdx.x;
  int32_t row = 0;
  int count = 0;
  int64_t place = 0;
  if (k < n) {
    row = call.order[k];
    count = call.counts[row];
    place = call.ends[k] - count - (staged ? begin : 0);
  }
  if (count > 0 && count <= kSerialTiles) write_alone(call, target, row, place, count);
  for (unsigned left = __ballot_sync(kAllLanes, count > kSerialTiles); left; left &= left - 1) {
    const int source = __ffs(left) - 1;
    write_together(call, target, __shfl_sync(kAllLanes, row, source), __shfl_sync(kAllLanes, place, source));
  }
  if (!staged) return;
  __syncthreads();
  for (int at = threadIdx.x; at < int(end - begin); at += kThreads) {
    to.keys[begin + at] = keys[at];
    to.rows[begin + at] = rows[at];
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
BinScratch scratch_with(int n, int capacity, int64_t largest_key) {
  size_t by_depth = 0, scan = 0, by_tile = 0;
  cub::DeviceRadixSort::SortPairs(nullptr, by_depth, (uint32_t*)nullptr, (uint32_t*)nullptr, (int32_t*)nullptr,
                                  (int32_t*)nullptr, n, 0, kDepthBits);
  cub::DeviceScan::InclusiveSum(nullptr, scan, CountsInOrder{nullptr, nullptr}, (int64_t*)nullptr, n);
  cub::DeviceRadixSort::SortPairs(nullptr, by_tile, (Key*)nullptr, (Key*)nullptr, (int32_t*)nullptr,
                                  (int32_t*)nullptr, capacity, 0, bits_of(largest_key));
  const size_t most = by_depth > scan ? by_depth : scan, sorting = by_tile > most ? by_tile : most;
  return {Parts<Key>(nullptr, n, capacity, sorting).bytes, sorting};
}

template <typename Key>
void bin_with(const BinCall& call, cudaStream_t stream) {
  const int n = call.first[call.count], capacity = int(call.capacity);  // as int: CUB's faster offsets
  const int64_t largest_key = int64_t(call.count) * call.tiles;
  const Parts<Key> scratch(call.scratch, n, capacity, call.sorting);
  size_t bytes = call.sorting;
  if (n > 0) {
    check(cub::DeviceRadixSort::SortPairs(scratch.sorting, bytes, reinterpret_cast<const uint32_t*>(call.depths),
                                          scratch.depths, call.rows, call.order, n, 0, kDepthBits, stream),
          "sorting by depth");
    check(cub::DeviceScan::InclusiveSum(scratch.sorting, bytes, CountsInOrder{call.counts, call.order}, call.ends, n,
                                        stream),
          "adding up counts");
    const Target<Key> target{scratch.keys, scratch.rows};
    write_kernel<<<blocks_for(n, kThreads), kThreads, 0, stream>>>(call, target);
    check(cudaGetLastError(), "writing instances");
    check(cub::DeviceRadixSort::SortPairs(scratch.sorting, bytes, scratch.keys, scratch.sorted_keys, scratch.rows,
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

BinScratch bin_scratch(int64_t n, int64_t capacity, int layers, int tiles) {
  const int64_t largest_key = int64_t(layers) * tiles;
  const auto scratch = largest_key <= kMostShortKeys ? scratch_with<uint16_t> : scratch_with<uint32_t>;
  return scratch(int(n), int(capacity), largest_key);
}

void bin(const BinCall& call, Stream stream) {
  if (int64_t(call.count) * call.tiles <= kMostShortKeys) {
    bin_with<uint16_t>(call, stream_of(stream));
  } else {
    bin_with<uint32_t>(call, stream_of(stream));
  }
}

}  // namespace moegs
