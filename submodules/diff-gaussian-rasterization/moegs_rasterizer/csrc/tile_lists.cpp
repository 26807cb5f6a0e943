#include "tile_lists.h"

#include <algorithm>
#include <cmath>

#include "depth_order.h"
#include "ellipse.h"

namespace moegs {
namespace {

constexpr int64_t kMostChunks = 16, kLeastChunkRecords = 512;
constexpr int kAhead = 8;
constexpr float kLog2E = 1.44269504f;

void fill_record(const Listed& in, int64_t row, const Ellipse& ellipse, float log2_opacity, float* to) {
  const float *mean = in.means2d + 2 * row, *conic = in.conics + 4 * row;
  Record& record = *reinterpret_cast<Record*>(to);
  record = {mean[0],
            mean[1],
            -0.5f * kLog2E * conic[0],
            -kLog2E * conic[1],
            -0.5f * kLog2E * conic[2],
            log2_opacity,
            float(ellipse.slope),
            float(ellipse.reach),
            float(ellipse.shrink),
            in.depths[row]};
  float* values = to + kRecordFloats;
  // Plain loops: the library's copies call memmove, which costs more than these few floats.
  const float *colours = in.colours + in.colour_channels * row, *features = in.features + in.feature_channels * row;
  for (int i = 0; i < in.colour_channels; ++i) *values++ = colours[i];
  for (int i = 0; i < in.feature_channels; ++i) *values++ = features[i];
  while (values < to + in.stride()) *values++ = 0;
}

// Rows come in the order of depth, scattered over the arrays: the memory of later ones is asked for early. GCC finds
// that the function computes nothing and drops its calls, unless they are inlined first.
__attribute__((always_inline)) inline void prefetch(const Listed& in, int64_t row) {
  __builtin_prefetch(in.conics + 4 * row);
  __builtin_prefetch(in.means2d + 2 * row);
  __builtin_prefetch(in.tiles + 4 * row);
  __builtin_prefetch(in.depths + row);
  __builtin_prefetch(in.colours + in.colour_channels * row);
  __builtin_prefetch(in.features + in.feature_channels * row);
}

}  // namespace

void TileLists::sort() {
  order_ = depth_order(listed_.depths, listed_.tiles, listed_.count);
  const int64_t records = record_count();
  const int64_t step = std::max(kLeastChunkRecords, (records + kMostChunks - 1) / kMostChunks);
  for (int64_t begin = 0; begin < records; begin += step) {
    Chunk chunk{};
    chunk.begin = begin;
    chunk.end = std::min(records, begin + step);
    chunks_.push_back(std::move(chunk));
  }
}

void TileLists::fill_records(int index, int32_t* order, float* records) {
  Chunk& chunk = chunks_[index];
  chunk.per_tile.assign(listed_.tile_count(), 0);
  chunk.per_record.reserve(chunk.end - chunk.begin);
  const int columns = listed_.columns();
  for (int64_t r = chunk.begin; r < chunk.end; ++r) {
    if (r + kAhead < chunk.end) prefetch(listed_, order_[r + kAhead]);
    const int64_t row = order[r] = order_[r];
    const float opacity = listed_.conics[4 * row + 3];
    // Below 1/255 no pixel takes it ("inria" lists it all the same).
    const float log2_opacity = std::log2(std::max(opacity, kLeastAlpha));
    const Ellipse ellipse(listed_.conics + 4 * row, log2_opacity);
    fill_record(listed_, row, ellipse, log2_opacity, records + r * listed_.stride());
    const size_t before = chunk.tiles.size();
    const int32_t* box = listed_.tiles + 4 * row;
    const double x = listed_.means2d[2 * row], y = listed_.means2d[2 * row + 1];
    for (int tile_row = box[1]; tile_row < box[3] && opacity >= kLeastAlpha; ++tile_row) {
      const Columns met = ellipse.columns(x, y, tile_row, {box[0], box[2]});
      for (int column = met.first; column < met.last; ++column) {
        chunk.tiles.push_back(tile_row * columns + column);
        ++chunk.per_tile[chunk.tiles.back()];
      }
    }
    chunk.per_record.push_back(int32_t(chunk.tiles.size() - before));
  }
}

int64_t TileLists::count(int32_t* tile_first) {
  int64_t total = 0;
  for (Chunk& chunk : chunks_) {
    chunk.first_instance = total;
    total += int64_t(chunk.tiles.size());
  }
  int64_t place = 0;
  const int tiles = listed_.tile_count();
  for (int tile = 0; tile < tiles; ++tile) {
    tile_first[tile] = int32_t(place);
    for (Chunk& chunk : chunks_) {
      const int32_t here = chunk.per_tile[tile];
      chunk.per_tile[tile] = int32_t(place);
      place += here;
    }
  }
  tile_first[tiles] = int32_t(place);
  return total;
}

void TileLists::fill_instances(int index, int32_t* instances, int32_t* slot_first, int32_t* slots) {
  Chunk& chunk = chunks_[index];
  int64_t next = 0;
  for (int64_t r = chunk.begin; r < chunk.end; ++r) {
    const int64_t end = next + chunk.per_record[r - chunk.begin];
    if (slots) slot_first[r] = int32_t(chunk.first_instance + next);
    for (; next < end; ++next) {
      const int32_t place = chunk.per_tile[chunk.tiles[next]]++;
      instances[place] = int32_t(r);
      if (slots) slots[chunk.first_instance + next] = place;
    }
  }
  if (slots && chunk.end == record_count()) slot_first[chunk.end] = int32_t(chunk.first_instance + next);
}

}  // namespace moegs
