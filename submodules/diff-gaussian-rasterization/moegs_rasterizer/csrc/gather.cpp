#include "gather.h"

namespace moegs {

namespace {

// Slots and records: what they point to lies scattered, so its memory is asked for early.
constexpr int kAhead = 24;

}  // namespace

void Gather::add(int64_t begin, int64_t end, const float* instances, int32_t first, int32_t last) const {
  const int32_t all = slot_first[end];
  for (int64_t record = begin; record < end; ++record) {
    float* to = sums + record * floats;
    int32_t slot = next[record];
    for (; slot < slot_first[record + 1] && slots[slot] < last; ++slot) {
      const float* from = instances + int64_t(slots[slot] - first) * floats;
      if (slot + kAhead < all) {  // an instance may lie across the border of two cache lines
        const float* later = instances + int64_t(slots[slot + kAhead] - first) * floats;
        __builtin_prefetch(later);
        __builtin_prefetch(later + floats - 1);
      }
      for (int i = 0; i < floats; ++i) to[i] += from[i];
    }
    next[record] = slot;
  }
}

void write_gradients(const int32_t* order, const float* conics, const float* sums, int floats, int64_t begin,
                     int64_t end, const FootprintGradients& to) {
  for (int64_t record = begin; record < end; ++record) {
    if (record + kAhead < end) __builtin_prefetch(conics + 4 * int64_t(order[record + kAhead]));
    const int64_t row = order[record];
    const float* from = sums + record * floats;
    if (to.means2d) {
      // Of ln alpha = ln o - (xx dx^2 + 2 xy dx dy + yy dy^2) / 2, with dx and dy from the mean to the pixel.
      const float *conic = conics + 4 * row, *m = from;
      float *mean_gradient = to.means2d + 2 * row, *conic_gradient = to.conics + 4 * row;
      mean_gradient[0] = conic[0] * m[1] + conic[1] * m[2];
      mean_gradient[1] = conic[1] * m[1] + conic[2] * m[2];
      conic_gradient[0] = -0.5f * m[3];
      conic_gradient[1] = -m[4];
      conic_gradient[2] = -0.5f * m[5];
      conic_gradient[3] = conic[3] > 0 ? m[0] / conic[3] : 0.0f;
      from += kMoments;
    }
    for (int i = 0; to.colours && i < to.colour_channels; ++i) to.colours[to.colour_channels * row + i] = *from++;
    for (int i = 0; to.features && i < to.feature_channels; ++i) to.features[to.feature_channels * row + i] = *from++;
  }
}

}  // namespace moegs
