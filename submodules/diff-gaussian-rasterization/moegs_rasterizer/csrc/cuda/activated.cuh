// Raw parameters, as training stores them, activated by the thread that reads them: exp and sigmoid in the arithmetic
// of PyTorch's kernels, and their derivatives in that of its autograd.
#pragma once

#include "device.cuh"

namespace moegs {

// The values of row i that kernels compute with.
struct Activated {
  float scale[3], opacity;

  __device__ __forceinline__ Activated(const Gaussians& in, int64_t i) {
    for (int k = 0; k < 3; ++k) scale[k] = in.scales[3 * i + k];
    opacity = in.opacities[i];
    if (!in.raw) return;
    for (int k = 0; k < 3; ++k) scale[k] = expf(scale[k]);
    opacity = 1.0f / (1.0f + expf(-opacity));
  }

  __device__ __forceinline__ GaussianRow row(const Gaussians& in, int64_t i) const {
    return {in.means + 3 * i, scale, in.quats + 4 * i, opacity};
  }

  // From gradients of activated values to those of the raw ones.
  __device__ __forceinline__ float scale_backward(int k, float gradient) const { return gradient * scale[k]; }
  __device__ __forceinline__ float opacity_backward(float gradient) const {
    return gradient * (1.0f - opacity) * opacity;
  }
};

}  // namespace moegs
