// The arithmetic, compiled once for each instruction set. Each build offers the same table of functions.
#pragma once

#include "layout.h"

namespace moegs {

struct Kernels {
  void (*project)(const View&, const Gaussians&, int64_t begin, int64_t end, const Projected&);
  void (*project_backward)(const View&, const Gaussians&, int64_t begin, int64_t end, const int32_t* radii,
                           const ProjectedGradients&, const GaussianGradients&);

  // Each of these handles one tile. `scratch` holds scratch_floats(channels) floats, aligned to 64 bytes.
  int64_t (*scratch_floats)(int channels);
  void (*blend)(const Blend&, int64_t tile, float* scratch);
  // Writes kMoments + channels floats for each of the tile's instances.
  void (*blend_backward)(const BlendGradients&, int64_t tile, float* scratch, float* sums);
  // Writes only the channels' sums.
  void (*blend_backward_linear)(const BlendGradients&, int64_t tile, float* scratch, float* sums);
};

enum Isa : int { kPortable, kAvx2, kAvx512, kIsaCount };

// Whether this build holds the instruction set and this processor has it.
bool isa_supported(int isa);
const Kernels& kernels(int isa);

extern const Kernels kPortableKernels;
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;

}  // namespace moegs
