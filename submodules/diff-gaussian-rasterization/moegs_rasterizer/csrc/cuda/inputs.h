// A call's input, checked, as the tables of the kernels' launchers take it.
#pragma once

#include "ops.h"

namespace moegs::gpu {

// What a call says of its camera besides `world_to_camera`, in the order of cuda/passes.py.
enum Pinhole { kFx, kFy, kCx, kCy, kPinhole };
// What it says of a layer's settings, in the order of cuda/passes.py.
enum Setting { kLowPass, kNear, kFar, kNdcLimit, kCompensate, kInriaTiles, kDepthOf, kEmptyDepth, kSettings };
// Bits of a layer's `kinds`: which of its tensors that may be absent are there. Of raw Gaussians (layout.h) kSh holds
// the first coefficient, and kColours the others.
enum Kind { kHasSh = 1, kHasColours = 2, kHasFeatures = 4, kIsRaw = 8 };

struct Input {
  int layers;
  int64_t rows;                        // of all layers
  int64_t values;                      // float4s that all layers carry
  int first[kMostLayers + 1];          // rows at which layers begin
  View views[kMostLayers];
  Gaussians gaussians[kMostLayers];
  Carried carried[kMostLayers];        // without what projecting makes
  DepthKind depth_kinds[kMostLayers];
  float empty_depths[kMostLayers];

  int count(int layer) const { return first[layer + 1] - first[layer]; }
};

// Fills in an empty `input`; false where something does not fit, for which validation.py then finds words.
bool read_input(Input& input, const Tensors& given, const std::vector<int64_t>& kinds, const Tensor& world_to_camera,
                const std::vector<double>& pinhole, const std::vector<double>& settings, int64_t width,
                int64_t height);

}  // namespace moegs::gpu
