// What the steps of a pass hand to each other: parts of one tensor of bytes, so that a call allocates once.
#pragma once

#include "ops.h"

namespace moegs::gpu {

struct PassSize {
  int layers;
  int64_t rows, values, capacity;  // values in float4s
  int64_t width, height;

  int across() const { return tiles_along(width); }
  int tiles() const { return across() * tiles_along(height); }
  int64_t cells() const { return int64_t(layers) * tiles(); }
};

// Deals out memory in parts that any type and float4s may lie in; without memory it only counts.
class Parts {
 public:
  explicit Parts(char* base) : base_(base) {}

  template <typename T>
  T* take(int64_t count) {
    T* place = base_ ? reinterpret_cast<T*>(base_ + bytes_) : nullptr;
    bytes_ += (count * int64_t(sizeof(T)) + 255) / 256 * 256;
    return place;
  }
  int64_t bytes() const { return bytes_; }

 private:
  char* base_;
  int64_t bytes_ = 0;
};

// What a backward pass reads again; launch.h says of each what it holds.
struct Kept {
  unsigned long long* status;
  float* depths;
  int32_t *rows, *counts, *order;
  float *shapes, *values;
  int32_t *ranges, *instances;
  int64_t bytes;

  Kept(char* base, const PassSize& size) {
    Parts parts(base);
    status = parts.take<unsigned long long>(kStatusWords);
    depths = parts.take<float>(size.rows);
    rows = parts.take<int32_t>(size.rows);
    counts = parts.take<int32_t>(size.rows);
    order = parts.take<int32_t>(size.rows);
    shapes = parts.take<float>(kShapeFloats * size.rows);
    values = parts.take<float>(4 * size.values);
    ranges = parts.take<int32_t>(2 * size.cells());
    instances = parts.take<int32_t>(size.capacity);
    bytes = parts.bytes();
  }
};

inline Tensor bytes_like(const Tensor& like, int64_t count) { return empty_like(like, {count}, ScalarType::Byte); }

inline char* memory_of(const Tensor& bytes) { return static_cast<char*>(bytes.mutable_data_ptr()); }

// The sorting step's table, but for the ends of the instances and its scratch memory.
inline BinCall bin_call(const PassSize& size, const Kept& kept, const int* first) {
  BinCall call{};
  for (int i = 0; i <= size.layers; ++i) call.first[i] = first[i];
  call.count = size.layers;
  call.capacity = size.capacity;
  call.across = size.across();
  call.tiles = size.tiles();
  call.depths = kept.depths;
  call.rows = kept.rows;
  call.counts = kept.counts;
  call.shapes = kept.shapes;
  call.order = kept.order;
  call.instances = kept.instances;
  call.ranges = kept.ranges;
  call.status = kept.status;
  return call;
}

// Sorts with memory that is free again afterwards, in the order of the stream.
inline void bin_with_scratch(BinCall& call, const Tensor& like, Stream stream) {
  const int64_t rows = call.first[call.count];
  const BinScratch needed = bin_scratch(rows, call.capacity, call.count, call.tiles);
  Parts measured(nullptr);
  measured.take<int64_t>(rows);
  const Tensor scratch = bytes_like(like, measured.bytes() + int64_t(needed.bytes));
  Parts parts(memory_of(scratch));
  call.ends = parts.take<int64_t>(rows);
  call.scratch = parts.take<char>(int64_t(needed.bytes));
  call.sorting = needed.sorting;
  moegs::bin(call, stream);
}

inline Lists lists_of(const PassSize& size, const Kept& kept, const int* first) {
  Lists lists{};
  lists.shapes = kept.shapes;
  lists.values = kept.values;
  lists.instances = kept.instances;
  lists.ranges = kept.ranges;
  lists.order = kept.order;
  lists.counts = kept.counts;
  lists.capacity = size.capacity;
  for (int i = 0; i <= size.layers; ++i) lists.first[i] = first[i];
  lists.rows = int(size.rows);
  lists.width = int(size.width);
  lists.height = int(size.height);
  lists.status = kept.status;
  return lists;
}

}  // namespace moegs::gpu
