// Gaussians that move along a cubic of time and show within a window of it. The readable version, with the formulas, is
// experts/stg/motion.py.
#pragma once

#include "launch.h"

namespace moegs {

struct MotionCall {
  const float *means, *motion, *quats, *omegas;              // [n, 3], [n, 9], [n, 4], [n, 4]
  const float *opacity_logits, *window_centres, *log_widths;  // [n]
  int64_t count;
  float time, most_log_width;
  float *means_then, *quats_then, *opacities_then;  // [n, 3], [n, 4], [n]
};
void move(const MotionCall& call, Stream stream);

}  // namespace moegs
