// The calls' tables of what blending carries and walks along.
#pragma once

#include "ops.h"

namespace moegs::gpu {

inline unsigned long long* status_of(const Tensors& shared) {
  return static_cast<unsigned long long*>(shared[kStatus].mutable_data_ptr());
}

// Fills the layers; returns how many float4s of values they have together.
inline int64_t set_carried(PackCall& call, const Tensors& carried) {
  int64_t values = 0;
  for (int i = 0; i < call.count; ++i) {
    const Tensor* given = &carried[i * kCarriedTensors];
    call.layer[i] = {floats(given[kCarriedMeans2d]),
                     floats(given[kCarriedConics]),
                     floats(given[kColours]),
                     floats(given[kFeatures]),
                     floats(given[kBackground]),
                     int(given[kColours].size(1)),
                     int(given[kFeatures].size(1)),
                     values};
    values += given[kCarriedMeans2d].size(0) * call.layer[i].groups();
  }
  return values;
}

inline Lists lists_of(const PackCall& packed, const Tensors& shared, const Tensors& lists, int64_t width,
                      int64_t height) {
  Lists found{};
  found.shapes = floats(lists[kShapes]);
  found.values = floats(lists[kValues]);
  found.instances = ints(lists[kInstances]);
  found.ranges = ints(lists[kRanges]);
  found.order = ints(lists[kOrder]);
  found.boxes = ints(shared[kTiles]);
  found.counts = ints(lists[kCounts]);
  found.capacity = lists[kInstances].size(0);
  for (int i = 0; i <= packed.count; ++i) found.first[i] = packed.first[i];
  found.rows = packed.first[packed.count];
  found.width = int(width);
  found.height = int(height);
  found.status = status_of(shared);
  return found;
}

}  // namespace moegs::gpu
