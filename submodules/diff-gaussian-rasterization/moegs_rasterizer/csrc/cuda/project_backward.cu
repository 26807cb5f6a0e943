// The chain rule through project.cu for one layer; one thread a Gaussian.
#include "../project_backward.h"
#include "activated.cuh"
#include "harmonics.cuh"

namespace moegs {
namespace {

// Four blocks a multiprocessor: a few more registers would leave room for three.
__global__ void __launch_bounds__(kRowThreads, 4)
project_backward_kernel(const __grid_constant__ ProjectBackwardLayer layer, int count) {
  MOEGS_DYNAMIC_SHARED(float, shared);
  const int start = blockIdx.x * kRowThreads;
  const int64_t i = start + threadIdx.x;
  const bool seen = i < count && layer.radii[i] > 0;
  double g_mean[3] = {0, 0, 0};
  if (layer.in.sh) {
    const bool asked = seen && layer.given.colours && cuda::any(layer.given.colours + 3 * i, 3);
    const bool any_asked = __syncthreads_or(asked);
    with_count(layer.in.sh_count, [&](auto coefficients) {
      constexpr int kCount = decltype(coefficients)::value, kFloats = 3 * kCount;
      const int here = min(kRowThreads, count - start);
      if (any_asked) load_rows<kFloats>(layer.in, start, here, shared);
      __syncthreads();
      float* row = shared + threadIdx.x * row_stride(kFloats);
      if (asked) {
        float gradient[kFloats];
        cuda::sh_colour_backward(layer.view.centre, layer.in.means + 3 * i, row, kCount, layer.given.colours + 3 * i,
                                 gradient, g_mean);
#pragma unroll
        for (int k = 0; k < kFloats; ++k) row[k] = gradient[k];
      } else {
#pragma unroll
        for (int k = 0; k < kFloats; ++k) row[k] = 0;
      }
      __syncthreads();
      store_rows<kFloats>(layer.out, layer.in.raw, start, here, shared);
    });
  }
  if (i >= count) return;
  const Activated activated(layer.in, i);
  cuda::shape_backward(layer.view, activated.row(layer.in, i), i, seen, layer.given, layer.out, g_mean);
  if (layer.in.raw) Activated(layer.in, i).backward(layer.out, i);
}

}  // namespace

void project_backward(const ProjectBackwardLayer& layer, int64_t count, Stream stream) {
  if (count == 0) return;
  launch("projecting backwards", project_backward_kernel, blocks_for(count, kRowThreads), kRowThreads, kHarmonicsBytes,
         stream_of(stream), layer, int(count));
}

}  // namespace moegs
