// From 3D Gaussians to 2D ones, all layers of a call in one launch; one thread a Gaussian.
#include "../project.h"
#include "activated.cuh"
#include "harmonics.cuh"

namespace moegs {
namespace {

constexpr float kOpacityTolerance = 1e-6f;  // validation.py: OPACITY_TOLERANCE

__device__ bool finite_row(const float* values, int count) {
  bool finite = true;
  for (int k = 0; k < count; ++k) finite = finite && is_finite(values[k]);
  return finite;
}

// The first thing wrong with a row, or a negative number.
__device__ int fault_of(const GaussianRow& row) {
  if (!finite_row(row.mean, 3)) return kBadMeans;
  if (!finite_row(row.scale, 3)) return kBadScales;
  if (!finite_row(row.quat, 4)) return kBadQuats;
  const float opacity = row.opacity;
  if (!is_finite(opacity)) return kBadOpacities;
  for (int k = 0; k < 3; ++k) {
    if (row.scale[k] < 0) return kNegativeScale;
  }
  return opacity < -kOpacityTolerance || opacity > 1 + kOpacityTolerance ? kOpacityRange : -1;
}

// A depth beyond the near plane in kShortDepthBits: its float's bits above the plane's, over 32 powers of two, with 19
// bits each. What is nearer or farther still counts as at the end.
__device__ uint32_t short_depth(float depth, double near) {
  constexpr int kRangeBits = 28;
  const uint32_t bits = __float_as_uint(depth), least = __float_as_uint(fmaxf(float(near), 1e-6f));
  if (!(bits > least)) return 0;
  return min(bits - least, (1u << kRangeBits) - 1) >> (kRangeBits - kShortDepthBits);
}

__host__ __device__ int blocks_of(const ProjectCall& call, int layer) {
  return (call.first[layer + 1] - call.first[layer] + kRowThreads - 1) / kRowThreads;
}

static_assert(sizeof(ProjectCall) <= 4096, "kernel arguments hold 4 KB before CUDA 12.1");

// Six blocks a multiprocessor: the double arithmetic waits long enough to want company. No register is spilt, but for a
// few where the views lie apart.
template <bool kViewsApart>
__global__ void __launch_bounds__(kRowThreads, 6)
project_kernel(const __grid_constant__ ProjectCall call) {
  MOEGS_DYNAMIC_SHARED(float, shared);
  int layer_index = 0, block = blockIdx.x;
  while (block >= blocks_of(call, layer_index)) block -= blocks_of(call, layer_index++);
  const ProjectLayer& layer = call.layer[layer_index];
  const View& view = kViewsApart ? call.views[layer_index] : layer.view;
  const int first = call.first[layer_index], rows = call.first[layer_index + 1] - first;
  const int start = block * kRowThreads;
  const int64_t i = start + threadIdx.x;
  bool seen = false;
  if (i < rows) {
    call.rows[first + i] = first + int(i);
    const Activated activated(layer.in, i);
    const GaussianRow row = activated.row(layer.in, i);
    const int fault = fault_of(row);
    if (fault >= 0) report(call.status, layer_index, int(i), Fault(fault));
    seen = fault < 0 && cuda::project_one(view, row, i, layer.out);
    if (!seen) {
      cuda::clear_one(i, layer.out);
      layer.out.depths[i] = __int_as_float(0x7fffffff);  // behind everything when sorted as an integer
    }
    if (call.short_depths) call.short_depths[first + i] = short_depth(layer.out.depths[i], view.near);
  }
  if (!layer.in.sh) return;
  with_count(layer.in.sh_count, [&](auto count) {
    constexpr int kCount = decltype(count)::value, kFloats = 3 * kCount;
    const int here = min(kRowThreads, rows - start);
    load_rows<kFloats>(layer.in, start, here, shared);
    __syncthreads();
    if (i >= rows) return;
    const float* row = shared + threadIdx.x * row_stride(kFloats);
    float sum = 0;
#pragma unroll
    for (int k = 0; k < kFloats; ++k) sum += row[k] * 0.0f;  // not 0 where one is NaN or infinite
    if (sum != 0) report(call.status, layer_index, int(i), kBadSh);
    float colour[3] = {0, 0, 0};
    if (seen) cuda::sh_colour(view.centre, layer.in.means + 3 * i, row, kCount, colour);
    for (int k = 0; k < 3; ++k) layer.out.colours[3 * i + k] = colour[k];
  });
}

}  // namespace

void project(const ProjectCall& call, Stream stream) {
  const size_t bytes = kStatusWords * sizeof(*call.status);
  check(cudaMemsetAsync(call.status, 0xff, bytes, stream_of(stream)), "clearing the status");
  int blocks = 0;
  for (int layer = 0; layer < call.count; ++layer) blocks += blocks_of(call, layer);
  if (blocks == 0) return;
  const auto kernel = call.views ? project_kernel<true> : project_kernel<false>;
  launch("projecting", kernel, blocks, kRowThreads, kHarmonicsBytes, stream_of(stream), call);
}

}  // namespace moegs
