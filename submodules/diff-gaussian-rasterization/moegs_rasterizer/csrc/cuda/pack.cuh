// Packs 2D Gaussians into what blending reads in whole float4s, and counts the tiles that each reaches.
#include "ellipse.cuh"

namespace moegs {
namespace {

constexpr int kThreads = 256;
constexpr float kLog2E = 1.44269504f;

// Colours, features, depth, and zeros up to a whole float4.
__device__ void pack_values(const Carried& from, int row, float depth, float* to) {
  const int channels = from.channels(), floats = 4 * from.groups();
  for (int k = 0; k < floats; k += 4) {
    float four[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int channel = k + j;
      four[j] = 0;
      if (channel < from.colour_channels) {
        four[j] = from.colours[int64_t(row) * from.colour_channels + channel];
      } else if (channel < channels) {
        four[j] = from.features[int64_t(row) * from.feature_channels + channel - from.colour_channels];
      } else if (channel == channels) {
        four[j] = depth;
      }
    }
    store4(to + k, make_float4(four[0], four[1], four[2], four[3]));
  }
}

__device__ int count_tiles(const Shape& shape, int4 box) {
  const Ellipse ellipse(shape);
  int count = 0;
  for (int tile_row = box.y; tile_row < box.w; ++tile_row) {
    const int2 met = ellipse.columns(tile_row, box.x, box.z);
    count += max(0, met.y - met.x);
  }
  return count;
}

// Every given value is looked at, also of Gaussians that are culled: bad ones must not hide.
__device__ void check_values(const PackCall& call, int layer_index, int row) {
  const Carried& from = call.layer[layer_index];
  float sums[2] = {0, 0};  // not 0 where a value is NaN or infinite
  for (int k = 0; k < from.colour_channels; ++k)
    sums[0] += from.colours[int64_t(row) * from.colour_channels + k] * 0.0f;
  for (int k = 0; k < from.feature_channels; ++k)
    sums[1] += from.features[int64_t(row) * from.feature_channels + k] * 0.0f;
  if (sums[0] != 0) report(call.status, layer_index, row, kBadColours);
  if (sums[1] != 0) report(call.status, layer_index, row, kBadFeatures);
}

__global__ void __launch_bounds__(kThreads) pack_kernel(const __grid_constant__ PackCall call) {
  const int g = blockIdx.x * kThreads + threadIdx.x;
  if (g < call.count) {  // one thread a layer
    const Carried& layer = call.layer[g];
    for (int k = 0; k < layer.channels(); ++k) {
      if (!is_finite(layer.background[k])) report(call.status, g, k, kBadBackground);
    }
  }
  if (g >= call.first[call.count]) return;
  const int layer_index = layer_of(call.first, call.count, g);
  const Carried& layer = call.layer[layer_index];
  const int row = g - call.first[layer_index];
  check_values(call, layer_index, row);
  const int4 box = *reinterpret_cast<const int4*>(call.tiles + int64_t(4) * g);
  const float4 conic = load4(layer.conics + int64_t(4) * row);
  int count = 0;
  // Below 1/255 no pixel takes it ("inria" lists it all the same).
  if (box.z > box.x && conic.w >= kLeastAlpha) {
    const Shape shape{layer.means2d[2 * int64_t(row)], layer.means2d[2 * int64_t(row) + 1], log2f(conic.w),
                      -0.5f * kLog2E * conic.x, -kLog2E * conic.y, -0.5f * kLog2E * conic.z};
    float* to = call.shapes + int64_t(kShapeFloats) * g;
    store4(to, make_float4(shape.x, shape.y, shape.log2_opacity, shape.a));
    const float2 packed = packed_box(box);
    store4(to + 4, make_float4(shape.b, shape.c, packed.x, packed.y));
    pack_values(layer, row, call.depths[g], call.values + 4 * (layer.first_value + int64_t(row) * layer.groups()));
    count = count_tiles(shape, box);
  }
  call.counts[g] = count;
}

}  // namespace

void pack(const PackCall& call, Stream stream) {
  // At least a block, for the backgrounds of layers that are all empty.
  launch("packing", pack_kernel, max(1, blocks_for(call.first[call.count], kThreads)), kThreads, 0, stream_of(stream),
         call);
}

}  // namespace moegs
