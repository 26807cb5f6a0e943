// From 3D Gaussians to 2D ones, packed for blending: all layers of a call in one launch, one thread a Gaussian.
#include "../project.h"
#include "activated.cuh"
#include "harmonics.cuh"
#include "pack.cuh"

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

static_assert(sizeof(ProjectCall) + sizeof(Pinhole) <= 4096, "kernel arguments hold 4 KB before CUDA 12.1");

// All but the colour of a row; false where it is culled.
__device__ __forceinline__ bool project_row(const ProjectCall& call, int layer_index, const View& view,
                                            const Pinhole& pinhole, int64_t i, Splat2d& splat) {
  const ProjectLayer& layer = call.layer[layer_index];
  const int64_t g = call.first[layer_index] + i;
  call.rows[g] = int32_t(g);
  const Activated activated(layer.in, i);
  const GaussianRow row = activated.row(layer.in, i);
  const int fault = fault_of(row);
  if (fault >= 0) report(call.status, layer_index, int(i), Fault(fault));
  const Projected here{splat.mean, splat.conic, nullptr, &splat.depth, &splat.radius, splat.box};
  const bool seen = fault < 0 && cuda::project_one(view, pinhole, row, 0, here);
  if (!seen) {
    cuda::clear_one(0, here);
    splat.depth = __int_as_float(0x7fffffff);  // behind everything when sorted as an integer
  }
  call.depths[g] = splat.depth;
  if (call.short_depths) call.short_depths[g] = short_depth(splat.depth, view.near);
  *reinterpret_cast<float2*>(layer.means2d + 2 * i) = make_float2(splat.mean[0], splat.mean[1]);
  if (layer.conics)
    store4(layer.conics + 4 * i, make_float4(splat.conic[0], splat.conic[1], splat.conic[2], splat.conic[3]));
  layer.radii[i] = splat.radius;
  return seen;
}

// The colour of each row of a block, from harmonics; black where it is culled.
__device__ __forceinline__ void colour_rows(const ProjectCall& call, int layer_index, const View& view, int start,
                                            bool seen, float* shared, Splat2d& splat) {
  const ProjectLayer& layer = call.layer[layer_index];
  const int rows = call.first[layer_index + 1] - call.first[layer_index];
  with_count(layer.in.sh_count, [&](auto count) {
    constexpr int kCount = decltype(count)::value, kFloats = 3 * kCount;
    wait_for_copies();
    __syncwarp();
    const int64_t i = start + threadIdx.x;
    if (i >= rows) return;
    const float* row = shared + threadIdx.x * row_stride(kFloats);
    float sum = 0;
#pragma unroll
    for (int k = 0; k < kFloats; ++k) sum += row[k] * 0.0f;  // not 0 where one is NaN or infinite
    if (sum != 0) report(call.status, layer_index, int(i), kBadSh);
    if (seen) cuda::sh_colour(view.centre, layer.in.means + 3 * i, row, kCount, splat.colour);
    if (!layer.colours) return;
    for (int k = 0; k < 3; ++k) layer.colours[3 * i + k] = splat.colour[k];
  });
}

// Six blocks a multiprocessor: the double arithmetic waits long enough to want company. A few registers are spilt (on
// sm_90 four, 17 where the views lie apart), with five blocks none.
template <bool kViewsApart>
__global__ void __launch_bounds__(kRowThreads, 6)
project_kernel(const __grid_constant__ ProjectCall call, const __grid_constant__ Pinhole pinhole) {
  MOEGS_DYNAMIC_SHARED(float, shared);
  const int thread = blockIdx.x * kRowThreads + threadIdx.x;
  if (thread < call.count) check_background(call.layer[thread].carried, thread, call.status);
  int layer_index = 0, block = blockIdx.x;
  while (layer_index + 1 < call.count && block >= blocks_of(call, layer_index)) block -= blocks_of(call, layer_index++);
  const View copied = kViewsApart ? View{} : View{call.camera, call.settings[layer_index]};
  const int first = call.first[layer_index], rows = call.first[layer_index + 1] - first;
  const int start = block * kRowThreads;
  const int64_t i = start + threadIdx.x;
  __shared__ View own_view;
  __shared__ Pinhole own_pinhole;
  if (kViewsApart) {
    if (threadIdx.x == 0) {
      own_view = call.views[layer_index];
      own_pinhole = cuda::pinhole_of(own_view);
    }
    __syncthreads();
  }
  const View& view = kViewsApart ? own_view : copied;
  const Gaussians& in = call.layer[layer_index].in;
  if (in.sh) {
    with_count(in.sh_count, [&](auto count) {
      load_rows<3 * decltype(count)::value>(in, start, min(kRowThreads, rows - start), shared);
    });
  }
  Splat2d splat{};
  int count = 0;
  bool seen = false;
  if (i < rows) {
    seen = project_row(call, layer_index, view, kViewsApart ? own_pinhole : pinhole, i, splat);
    if (seen) count = pack_shape(splat, call.shapes + int64_t(kShapeFloats) * (first + i));
    call.counts[first + i] = count;
  }
  if (in.sh) colour_rows(call, layer_index, view, start, seen, shared, splat);
  if (i >= rows) return;
  const Carried& carried = call.layer[layer_index].carried;
  check_values(carried, splat, i, layer_index, call.status);
  if (count > 0) pack_values(carried, splat, i, call.values + 4 * (carried.first_value + i * carried.groups()));
}

}  // namespace

void project(const ProjectCall& call, Stream stream) {
  const size_t bytes = kStatusWords * sizeof(*call.status);
  check(cudaMemsetAsync(call.status, 0xff, bytes, stream_of(stream)), "clearing the status");
  int blocks = 0;
  for (int layer = 0; layer < call.count; ++layer) blocks += blocks_of(call, layer);
  const auto kernel = call.views ? project_kernel<true> : project_kernel<false>;
  // At least a block, for the backgrounds of layers that are all empty.
  launch("projecting", kernel, max(1, blocks), kRowThreads, kHarmonicsBytes, stream_of(stream), call,
         cuda::pinhole_of(call.camera));
}

}  // namespace moegs
