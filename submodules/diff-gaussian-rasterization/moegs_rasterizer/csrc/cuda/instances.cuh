// Writing instances: a key and a row for each tile that a Gaussian reaches, Gaussians in the order of depth.
#pragma once

#include "ellipse.cuh"

namespace moegs {

constexpr int kThreads = 256;
constexpr int kSerialTiles = 16;  // of more, a warp writes the instances together
constexpr int kStaged = 4096;     // instances of a block that pass through its shared memory

// An instance's key: its (layer, tile). Of a single sort, the depth's bits below it.
template <typename Key>
__device__ __forceinline__ Key key_of(const BinCall& call, int cell, int32_t row) {
  if constexpr (sizeof(Key) == sizeof(uint64_t)) return Key(cell) << kDepthBits | __float_as_uint(call.depths[row]);
  return Key(cell);
}
template <typename Key>
__device__ __forceinline__ int cell_of(Key key) {
  return int(sizeof(Key) == sizeof(uint64_t) ? uint64_t(key) >> kDepthBits : key);
}

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
  const BinCall& call;
  Target<Key> to;
  int64_t place, end;
  int32_t row;

  __device__ __forceinline__ void write(int first_cell, int2 columns) {
    for (int column = columns.x; column < columns.y && place < end; ++column) {
      to.keys[place] = key_of<Key>(call, first_cell + column, row);
      to.rows[place++] = row;
    }
  }
};

template <typename Key>
__device__ void write_alone(const BinCall& call, Target<Key> to, int32_t row, int64_t place, int count) {
  const Ellipse ellipse(load_shape(call.shapes, row));
  const int4 box = load_box(call.shapes, row);
  const int base = layer_of(call.first, call.count, row) * call.tiles;
  Writer<Key> writer{call, to, place, place + count, row};
  for (int tile_row = box.y; tile_row < box.w; ++tile_row)
    writer.write(base + tile_row * call.across, ellipse.columns(tile_row, box.x, box.z));
}

// The same by a whole warp, a lane for each row of tiles.
template <typename Key>
__device__ void write_together(const BinCall& call, Target<Key> to, int32_t row, int64_t place) {
  const int lane = threadIdx.x % kWarp;
  const Ellipse ellipse(load_shape(call.shapes, row));
  const int4 box = load_box(call.shapes, row);
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
    Writer<Key>{call, to, place + until - mine, place + until, row}.write(base + tile_row * call.across, met);
    place += __shfl_sync(kAllLanes, until, kWarp - 1);
  }
}

// Padding behind the last instance, and everywhere where they are more than the capacity.
template <typename Key>
__device__ void write_padding(const BinCall& call, Target<Key> to, int64_t from) {
  const int64_t thread = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  for (int64_t place = from + thread; place < call.capacity; place += int64_t(gridDim.x) * kThreads) {
    to.keys[place] = key_of<Key>(call, call.count * call.tiles, 0);
    to.rows[place] = 0;
  }
}

// Tiles without instances keep an empty range.
__device__ __forceinline__ void clear_ranges(const BinCall& call) {
  int2* const ranges = reinterpret_cast<int2*>(call.ranges);
  const int64_t cells = int64_t(call.count) * call.tiles, thread = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  for (int64_t cell = thread; cell < cells; cell += int64_t(gridDim.x) * kThreads) ranges[cell] = make_int2(0, 0);
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
  clear_ranges(call);
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
    place = k == 0 ? 0 : call.ends[k - 1];
    count = int(call.ends[k] - place);
    if (staged) place -= begin;
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

}  // namespace moegs
