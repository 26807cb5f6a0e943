// The chain rule through project.cu for one layer; one thread a Gaussian.
#include "../project_backward.h"
#include "activated.cuh"
#include "harmonics.cuh"

namespace moegs {
namespace {

template <int kCount>
__device__ __forceinline__ bool all_finite(const float (&values)[kCount]) {
  float sum = 0;  // NaN where one is NaN or infinite
#pragma unroll
  for (int k = 0; k < kCount; ++k) sum = fmaf(values[k], 0.0f, sum);
  return sum == 0;
}

// A row of gradients on its way to memory, to raw values where these are given, looked at as it passes.
class LookedRow {
 public:
  __device__ __forceinline__ LookedRow(const ProjectBackwardLayer& layer, const Activated& activated, int64_t i)
      : layer_(layer), activated_(activated), i_(i) {}

  __device__ __forceinline__ void mean(int k, float value) { layer_.out.means[3 * i_ + k] = look(kBadMeans, value); }
  __device__ __forceinline__ void scale(int k, float value) {
    if (layer_.in.raw) value = activated_.scale_backward(k, value);
    layer_.out.scales[3 * i_ + k] = look(kBadScales, value);
  }
  __device__ __forceinline__ void quat(float w, float x, float y, float z) {
    store4(layer_.out.quats + 4 * i_, make_float4(look(kBadQuats, w), look(kBadQuats, x), look(kBadQuats, y),
                                                  look(kBadQuats, z)));
  }
  __device__ __forceinline__ void opacity(float value) {
    if (layer_.in.raw) value = activated_.opacity_backward(value);
    layer_.out.opacities[i_] = look(kBadOpacities, value);
  }

  __device__ __forceinline__ void report_bad() const {
    if (!bad_) return;
#pragma unroll
    for (int kind = kBadMeans; kind <= kBadOpacities; ++kind) report(layer_.faults, Fault(kind), !(bad_ >> kind & 1));
  }

 private:
  __device__ __forceinline__ float look(Fault kind, float value) {
    if (!is_finite(value)) bad_ |= 1u << kind;
    return value;
  }

  const ProjectBackwardLayer& layer_;
  const Activated& activated_;
  const int64_t i_;
  unsigned bad_ = 0;
};

// Four blocks a multiprocessor: a few more registers would leave room for three.
template <bool kViewApart>
__global__ void __launch_bounds__(kRowThreads, 4)
project_backward_kernel(const __grid_constant__ ProjectBackwardLayer layer, const __grid_constant__ Pinhole pinhole,
                        int count) {
  MOEGS_DYNAMIC_SHARED(float, shared);
  __shared__ View own_view;
  __shared__ Pinhole own_pinhole;
  if (kViewApart) {
    if (threadIdx.x == 0) {
      own_view = *layer.moving;
      own_pinhole = cuda::pinhole_of(own_view);
    }
    __syncthreads();
  }
  const View& view = kViewApart ? own_view : layer.view;
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
      wait_for_copies();
      __syncthreads();
      float* row = shared + threadIdx.x * row_stride(kFloats);
      if (asked) {
        float gradient[kFloats];
        cuda::sh_colour_backward(view.centre, layer.in.means + 3 * i, row, kCount, layer.given.colours + 3 * i, gradient,
                                 g_mean);
        report(layer.faults, kBadSh, all_finite(gradient));
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
  LookedRow row(layer, activated, i);
  cuda::shape_backward(view, kViewApart ? own_pinhole : pinhole, activated.row(layer.in, i), i, seen, layer.given, row,
                       g_mean);
  row.report_bad();
}

}  // namespace

void project_backward(const ProjectBackwardLayer& layer, int64_t count, Stream stream) {
  if (count == 0) return;
  const auto kernel = layer.moving ? project_backward_kernel<true> : project_backward_kernel<false>;
  launch("projecting backwards", kernel, blocks_for(count, kRowThreads), kRowThreads, kHarmonicsBytes,
         stream_of(stream), layer, cuda::pinhole_of(layer.view), int(count));
}

}  // namespace moegs
