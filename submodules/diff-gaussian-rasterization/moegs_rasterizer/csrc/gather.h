// From what instances added up to gradients of the 2D Gaussians.
#pragma once

#include "layout.h"

namespace moegs {

// Adds to sums[records, floats] the instances whose places lie in [first, last), whose sums begin at `instances`.
// Always in the order of the places, so that neither threads nor bands change a bit. next[records] remembers, from call
// to call with rising places, how far each record's slots have been used.
struct Gather {
  const int32_t *slot_first, *slots;
  int32_t* next;
  float* sums;
  int floats;

  void add(int64_t begin, int64_t end, const float* instances, int32_t first, int32_t last) const;
};

// Gradients of a layer's 2D Gaussians, [count] rows each; null where not asked for.
struct FootprintGradients {
  float *means2d, *conics, *colours, *features;
  int colour_channels, feature_channels;
};

// Writes the rows order[begin ... end) from a record's sums: kMoments (where means2d is not null), then the channels.
void write_gradients(const int32_t* order, const float* conics, const float* sums, int floats, int64_t begin,
                     int64_t end, const FootprintGradients& to);

}  // namespace moegs
