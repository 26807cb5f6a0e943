// Front-to-back blending (3DGS's rule): a block for each tile of each layer, a thread for each pixel.
#include "tile.cuh"

namespace moegs {
namespace {

// What a pixel adds up. `kPlain` where the depth is a plain sum.
template <int kGroups, bool kPlain>
struct Pixel {
  float values[4 * kGroups] = {};
  float transmittance = 1, weight = 0, median = kEmptyMedianDepth;
  bool done;

  // Without branches: most pixels take most hits, and the next hit's arithmetic need not wait.
  __device__ __forceinline__ void take(const Step& step, const float4 (&carried)[kGroups], float depth) {
    const bool visible = step.visible && !done;
    done = done || (visible && step.stops);
    const bool taken = visible && !step.stops;
    const float w = taken ? step.weight : 0;
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      values[4 * group] = fmaf(w, carried[group].x, values[4 * group]);
      values[4 * group + 1] = fmaf(w, carried[group].y, values[4 * group + 1]);
      values[4 * group + 2] = fmaf(w, carried[group].z, values[4 * group + 2]);
      values[4 * group + 3] = fmaf(w, carried[group].w, values[4 * group + 3]);
    }
    if (!kPlain) {
      weight += w;  // not 1 - transmittance, which rounds to few digits where alpha is small
      if (taken && transmittance > 0.5f && step.after < 0.5f) median = depth;
    }
    if (taken) transmittance = step.after;
  }
};

template <int kGroups, bool kPlain>
struct Pixels {
  Pixel<kGroups, kPlain> each[kLanePixels];

  __device__ __forceinline__ bool done() const {
    bool all = true;
#pragma unroll
    for (int which = 0; which < kLanePixels; ++which) all = all && each[which].done;
    return all;
  }
};

// A warp's shared memory.
template <int kGroups, bool kPlain>
struct Memory {
  Hits hits;
  float4 values[kWarp * kGroups];
  float depth[kPlain ? 1 : kWarp];
};

// A layer's pass over some of its values.
struct Pass {
  const BlendLayer* layer;
  const Lists* lists;
  int tile, first_group;

  __device__ __forceinline__ int groups() const { return layer->channels / 4 + 1; }
};

template <int kGroups, bool kPlain>
__device__ __forceinline__ void load_values(const Pass& pass, int32_t row, int at, Memory<kGroups, kPlain>& memory) {
  const int64_t within = row - pass.lists->first[pass.layer->index];
  const float* values = pass.lists->values + 4 * (pass.layer->first_value + within * pass.groups());
#pragma unroll
  for (int group = 0; group < kGroups; ++group)
    memory.values[at * kGroups + group] = load4(values + 4 * (pass.first_group + group));
  if (!kPlain) memory.depth[at] = values[pass.layer->channels];
}

template <bool kListed, int kGroups, bool kPlain>
__device__ __forceinline__ void blend_tile(const Pass& pass, const Place& place, Pixels<kGroups, kPlain>& pixels,
                                           Memory<kGroups, kPlain>& memory) {
  Candidates<kListed> candidates(*pass.lists, pass.layer->index, pass.tile, place);
  while (candidates.any() && !__all_sync(kAllLanes, pixels.done())) {
    const Candidate mine = candidates.take();
    int count;
    const int at = put_hits(mine, place, memory.hits, count);
    if (at >= 0) load_values(pass, mine.row, at, memory);
    __syncwarp();
#pragma unroll 2
    for (int i = 0; i < count; ++i) {
      const Shape shape = memory.hits.shape(i);
      float4 carried[kGroups];
#pragma unroll
      for (int group = 0; group < kGroups; ++group) carried[group] = memory.values[i * kGroups + group];
      const float depth = kPlain ? 0 : memory.depth[i], dx = __fsub_rn(float(place.x), shape.x);
#pragma unroll
      for (int which = 0; which < kLanePixels; ++which) {
        Pixel<kGroups, kPlain>& pixel = pixels.each[which];
        const float dy = __fsub_rn(float(place.row(which)), shape.y);
        pixel.take(Step(shape, dx, dy, pixel.transmittance), carried, depth);
      }
    }
    __syncwarp();
  }
}

template <int kGroups, bool kPlain>
__device__ void write_pixel(const Pass& pass, int64_t at, const Pixel<kGroups, kPlain>& pixel) {
  const BlendLayer& layer = *pass.layer;
  const Lists& lists = *pass.lists;
  const int64_t plane = int64_t(lists.width) * lists.height;
  // Bad input never gives a picture that looks right.
  const float poison = lists.status[layer.index] == kNoFault ? 0.0f : __int_as_float(0x7fffffff);
  if (pass.first_group == 0) {
    layer.alpha[at] = 1 - pixel.transmittance + poison;
    if (layer.left) layer.left[at] = pixel.transmittance;
  }
#pragma unroll
  for (int k = 0; k < 4 * kGroups; ++k) {
    const int channel = 4 * pass.first_group + k;
    if (channel < layer.channels) {
      const float value = fmaf(pixel.transmittance, layer.background[channel], pixel.values[k]) + poison;
      const bool colour = channel < layer.colour_channels;
      float* image = colour ? layer.colour : layer.features;
      image[(colour ? channel : channel - layer.colour_channels) * plane + at] = value;
    } else if (channel == layer.channels) {
      float depth = pixel.values[k];
      if (!kPlain && layer.depth_kind == kDepthMean)
        depth = pixel.weight > 0 ? depth / pixel.weight : layer.empty_depth;
      if (!kPlain && layer.depth_kind == kDepthMedian) depth = pixel.median;
      layer.depth[at] = depth + poison;
    }
  }
}

// Layers of one launch: those with as many values left, and depths alike.
struct Chosen {
  int layer[kMostLayers];
};

template <int kGroups, bool kPlain>
__global__ void __launch_bounds__(kTileThreads)
blend_kernel(const __grid_constant__ BlendCall call, const __grid_constant__ Chosen chosen, int first_group) {
  __shared__ Memory<kGroups, kPlain> memory[kWarps];
  const Pass pass{&call.layer[chosen.layer[blockIdx.y]], &call.lists, int(blockIdx.x), first_group};
  const Place place(call.lists, pass.tile);
  Pixels<kGroups, kPlain> pixels;
#pragma unroll
  for (int which = 0; which < kLanePixels; ++which) pixels.each[which].done = !place.inside(call.lists, which);
  if (call.lists.status[kMostLayers] <= static_cast<unsigned long long>(call.lists.capacity)) {
    blend_tile<true>(pass, place, pixels, memory[place.warp]);
  } else {
    blend_tile<false>(pass, place, pixels, memory[place.warp]);
  }
#pragma unroll
  for (int which = 0; which < kLanePixels; ++which) {
    if (place.inside(call.lists, which)) write_pixel(pass, place.pixel(call.lists, which), pixels.each[which]);
  }
}

template <int kGroups, bool kPlain>
void launch(const BlendCall& call, int first_group, cudaStream_t stream) {
  Chosen chosen{};
  int count = 0;
  for (int layer = 0; layer < call.count; ++layer) {
    const int left = call.layer[layer].channels / 4 + 1 - first_group;
    if ((call.layer[layer].depth_kind == kDepthSum) != kPlain) continue;
    if (left == kGroups || (kGroups == kValuesPerPass / 4 && left > kGroups)) chosen.layer[count++] = layer;
  }
  if (count == 0) return;
  const Lists& lists = call.lists;
  const int tiles = ((lists.width + kTile - 1) / kTile) * ((lists.height + kTile - 1) / kTile);
  blend_kernel<kGroups, kPlain><<<dim3(tiles, count), kTileThreads, 0, stream>>>(call, chosen, first_group);
  check(cudaGetLastError(), "blending");
}

template <bool kPlain>
void launch_all(const BlendCall& call, cudaStream_t stream) {
  int groups = 0;
  for (int layer = 0; layer < call.count; ++layer) groups = max(groups, call.layer[layer].channels / 4 + 1);
  for (int first_group = 0; first_group < groups; first_group += kValuesPerPass / 4) {
    launch<1, kPlain>(call, first_group, stream);
    launch<2, kPlain>(call, first_group, stream);
    launch<3, kPlain>(call, first_group, stream);
    launch<4, kPlain>(call, first_group, stream);
  }
}

}  // namespace

void blend(const BlendCall& call, Stream stream) {
  launch_all<true>(call, stream_of(stream));
  launch_all<false>(call, stream_of(stream));
}

}  // namespace moegs
