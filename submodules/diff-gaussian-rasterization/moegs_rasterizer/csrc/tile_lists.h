// Depth-sorted records of a layer, and for each tile the list of those that may reach it.
#pragma once

#include <vector>

#include "layout.h"

namespace moegs {

// What lists are made of: what projecting gave, and the values to carry to the pixels.
struct Listed {
  int64_t count;
  const float *means2d, *conics, *depths;
  const int32_t* tiles;
  const float *colours, *features;  // [count, colour_channels], [count, feature_channels]
  int colour_channels, feature_channels;
  int width, height;

  int columns() const { return (width + kTile - 1) / kTile; }
  int tile_count() const { return columns() * ((height + kTile - 1) / kTile); }
  // Records start on multiples of four floats.
  int stride() const { return (kRecordFloats + colour_channels + feature_channels + 3) / 4 * 4; }
};

// Builds the lists of one layer in four steps; chunks of step 2 and 4 may run at the same time, in any order.
// The result does not depend on how many chunks there are.
class TileLists {
 public:
  explicit TileLists(const Listed& listed) : listed_(listed) {}

  void sort();  // 1
  int chunk_count() const { return int(chunks_.size()); }
  int64_t record_count() const { return int64_t(order_.size()); }

  // 2: fills the chunk's stretch of order[record_count] and records[record_count * stride].
  void fill_records(int chunk, int32_t* order, float* records);

  // 3: fills tile_first[tile_count + 1]; returns how many instances there are.
  int64_t count(int32_t* tile_first);

  // 4: fills the chunk's part of instances[count()]; where slots is not null, also slot_first[record_count + 1] and
  // slots[count()]: the places in `instances` of record r are slots[slot_first[r]] ... slots[slot_first[r + 1] - 1].
  void fill_instances(int chunk, int32_t* instances, int32_t* slot_first, int32_t* slots);

 private:
  struct Chunk {
    int64_t begin, end;              // records
    std::vector<int32_t> per_record; // instances of each
    std::vector<int32_t> tiles;      // tile of each instance, record by record
    std::vector<int32_t> per_tile;   // instances in each tile; after count(), the place of the next one
    int64_t first_instance;
  };

  Listed listed_;
  std::vector<int32_t> order_;
  std::vector<Chunk> chunks_;
};

}  // namespace moegs
