// Front-to-back blending (3DGS's rule): a block for each tile of each layer, a thread for each pixel.
#include "tile.cuh"

namespace moegs {
namespace {

constexpr int kBatch = kTileThreads;

// What a pixel adds up.
template <int kGroups>
struct Pixel {
  float values[4 * kGroups] = {};
  float transmittance = 1, weight = 0, median = kEmptyMedianDepth;
  bool done;

  __device__ __forceinline__ void take(const Step& step, const float4* carried, bool wants_median, float depth) {
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      const float4 four = carried[group];
      values[4 * group] = fmaf(step.weight, four.x, values[4 * group]);
      values[4 * group + 1] = fmaf(step.weight, four.y, values[4 * group + 1]);
      values[4 * group + 2] = fmaf(step.weight, four.z, values[4 * group + 2]);
      values[4 * group + 3] = fmaf(step.weight, four.w, values[4 * group + 3]);
    }
    weight += step.weight;  // not 1 - transmittance, which rounds to few digits where alpha is small
    if (wants_median && transmittance > 0.5f && step.after < 0.5f) median = depth;
    transmittance = step.after;
  }
};

template <int kGroups>
struct Shared {
  Batch<kBatch> batch;
  float4 values[kBatch * kGroups];
  float depth[kBatch];
  int hits[kWarps];
};

// A layer's pass over some of its values.
struct Pass {
  const BlendLayer* layer;
  const Lists* lists;
  int tile, first_group;

  __device__ __forceinline__ int groups() const { return layer->channels / 4 + 1; }
};

template <int kGroups>
__device__ __forceinline__ void load_entry(const Pass& pass, int32_t row, int at, Shared<kGroups>& shared) {
  const Lists& lists = *pass.lists;
  shared.batch.one[at] = load4(lists.shapes + int64_t(kShapeFloats) * row);
  shared.batch.two[at] = load4(lists.shapes + int64_t(kShapeFloats) * row + 4);
  const int64_t within = row - lists.first[pass.layer->index];
  const float* values = lists.values + 4 * (pass.layer->first_value + within * pass.groups());
#pragma unroll
  for (int group = 0; group < kGroups; ++group)
    shared.values[at * kGroups + group] = load4(values + 4 * (pass.first_group + group));
  if (pass.layer->depth_kind == kDepthMedian) shared.depth[at] = values[pass.layer->channels];
}

template <int kGroups>
__device__ __forceinline__ void blend_batch(const Pass& pass, const Shared<kGroups>& shared, int count,
                                            const Place& place, Pixel<kGroups>& pixel) {
  const bool wants_median = pass.layer->depth_kind == kDepthMedian;
  for (int start = 0; start < count; start += kWarp) {
    if (__all_sync(kAllLanes, pixel.done)) return;
    for (unsigned left = hits(shared.batch, start, count, place); left; left &= left - 1) {
      const int at = start + __ffs(left) - 1;
      const Step step(shared.batch.one[at], shared.batch.two[at], place, pixel.transmittance);
      if (pixel.done || !step.visible) continue;
      if (step.stops) {
        pixel.done = true;
      } else {
        pixel.take(step, shared.values + at * kGroups, wants_median, wants_median ? shared.depth[at] : 0);
      }
    }
  }
}

template <int kGroups>
__device__ void blend_listed(const Pass& pass, const Place& place, Pixel<kGroups>& pixel, Shared<kGroups>& shared) {
  const Lists& lists = *pass.lists;
  const int cell = pass.layer->index * (((lists.width + kTile - 1) / kTile) * ((lists.height + kTile - 1) / kTile)) +
                   pass.tile;
  const int first = lists.ranges[2 * cell], last = lists.ranges[2 * cell + 1];
  for (int start = first; start < last; start += kBatch) {
    if (__syncthreads_and(pixel.done)) return;
    const int count = min(kBatch, last - start);
    if (threadIdx.x < count) load_entry(pass, lists.instances[start + threadIdx.x], threadIdx.x, shared);
    __syncthreads();
    blend_batch(pass, shared, count, place, pixel);
  }
}

// Where the lists' memory was too small: every Gaussian of the call, nearest first, is asked whether the tile is its
// own. Slow and right; the next call's memory is larger.
template <int kGroups>
__device__ void blend_unlisted(const Pass& pass, const Place& place, Pixel<kGroups>& pixel, Shared<kGroups>& shared) {
  const Lists& lists = *pass.lists;
  const int across = (lists.width + kTile - 1) / kTile;
  const int column = pass.tile % across, tile_row = pass.tile / across;
  const int first_row = lists.first[pass.layer->index], last_row = lists.first[pass.layer->index + 1];
  for (int start = 0; start < lists.rows; start += kBatch) {
    if (__syncthreads_and(pixel.done)) return;
    const int row = start + threadIdx.x < lists.rows ? lists.order[start + threadIdx.x] : -1;
    bool mine = row >= first_row && row < last_row && lists.counts[row] > 0;
    if (mine) {
      const int4 box = *reinterpret_cast<const int4*>(lists.boxes + int64_t(4) * row);
      mine = column >= box.x && column < box.z && tile_row >= box.y && tile_row < box.w;
    }
    const unsigned votes = __ballot_sync(kAllLanes, mine);
    if (place.lane == 0) shared.hits[place.warp] = __popc(votes);
    __syncthreads();
    int before = __popc(votes & ((1u << place.lane) - 1)), count = 0;
    for (int warp = 0; warp < kWarps; ++warp) {
      if (warp < place.warp) before += shared.hits[warp];
      count += shared.hits[warp];
    }
    if (mine) load_entry(pass, row, before, shared);
    __syncthreads();
    blend_batch(pass, shared, count, place, pixel);
  }
}

template <int kGroups>
__device__ void write_pixel(const Pass& pass, const Place& place, const Pixel<kGroups>& pixel) {
  const BlendLayer& layer = *pass.layer;
  const Lists& lists = *pass.lists;
  const int64_t at = place.pixel(lists), plane = int64_t(lists.width) * lists.height;
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
      if (layer.depth_kind == kDepthMean) depth = pixel.weight > 0 ? depth / pixel.weight : layer.empty_depth;
      if (layer.depth_kind == kDepthMedian) depth = pixel.median;
      layer.depth[at] = depth + poison;
    }
  }
}

// Layers of one launch: those with as many values left.
struct Chosen {
  int layer[kMostLayers];
};

template <int kGroups>
__global__ void __launch_bounds__(kTileThreads)
blend_kernel(const __grid_constant__ BlendCall call, const __grid_constant__ Chosen chosen, int first_group) {
  __shared__ Shared<kGroups> shared;
  const Pass pass{&call.layer[chosen.layer[blockIdx.y]], &call.lists, int(blockIdx.x), first_group};
  const Place place(call.lists, pass.tile);
  Pixel<kGroups> pixel;
  pixel.done = !place.inside;
  if (call.lists.status[kMostLayers] <= static_cast<unsigned long long>(call.lists.capacity)) {
    blend_listed(pass, place, pixel, shared);
  } else {
    blend_unlisted(pass, place, pixel, shared);
  }
  if (place.inside) write_pixel(pass, place, pixel);
}

template <int kGroups>
void launch(const BlendCall& call, int first_group, cudaStream_t stream) {
  Chosen chosen{};
  int count = 0;
  for (int layer = 0; layer < call.count; ++layer) {
    const int left = call.layer[layer].channels / 4 + 1 - first_group;
    if (left == kGroups || (kGroups == kValuesPerPass / 4 && left > kGroups)) chosen.layer[count++] = layer;
  }
  if (count == 0) return;
  const Lists& lists = call.lists;
  const int tiles = ((lists.width + kTile - 1) / kTile) * ((lists.height + kTile - 1) / kTile);
  blend_kernel<kGroups><<<dim3(tiles, count), kTileThreads, 0, stream>>>(call, chosen, first_group);
  check(cudaGetLastError(), "blending");
}

}  // namespace

void blend(const BlendCall& call, Stream stream) {
  int groups = 0;
  for (int layer = 0; layer < call.count; ++layer) groups = max(groups, call.layer[layer].channels / 4 + 1);
  for (int first_group = 0; first_group < groups; first_group += kValuesPerPass / 4) {
    launch<1>(call, first_group, stream_of(stream));
    launch<2>(call, first_group, stream_of(stream));
    launch<3>(call, first_group, stream_of(stream));
    launch<4>(call, first_group, stream_of(stream));
  }
}

}  // namespace moegs
