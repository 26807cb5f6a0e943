// Front-to-back blending (3DGS's rule): a block for each tile of each layer, a thread for two pixels.
#include "pixels.cuh"

namespace moegs {
namespace {

template <int kValues, bool kPlain>
struct Pixels {
  Pixel<kValues, kPlain> each[kLanePixels];

  __device__ __forceinline__ bool done() const {
    bool all = true;
#pragma unroll
    for (int which = 0; which < kLanePixels; ++which) all = all && each[which].transmittance < 0;
    return all;
  }
};

// A warp's shared memory.
template <int kValues, bool kPlain>
struct Memory {
  static constexpr int kGroups = (kValues + 3) / 4;

  Hits hits;
  float4 values[kWarp * kGroups];
  float depth[kPlain ? 1 : kWarp];
};

template <int kValues, bool kPlain>
__device__ __forceinline__ void load_values(const Pass& pass, int32_t row, int at, Memory<kValues, kPlain>& memory) {
  const int64_t within = row - pass.lists->first[pass.layer->index];
  const float* values = pass.lists->values + 4 * (pass.layer->first_value + within * pass.groups());
  constexpr int kGroups = Memory<kValues, kPlain>::kGroups;
#pragma unroll
  for (int group = 0; group < kGroups; ++group)
    memory.values[at * kGroups + group] = load4(values + 4 * (pass.first_group + group));
  if (!kPlain) memory.depth[at] = values[pass.layer->channels];
}

template <bool kListed, int kValues, bool kPlain>
__device__ __forceinline__ void blend_tile(const Pass& pass, const Place& place, Pixels<kValues, kPlain>& pixels,
                                           Memory<kValues, kPlain>& memory) {
  constexpr int kGroups = Memory<kValues, kPlain>::kGroups;
  Candidates<kListed> candidates(*pass.lists, pass.layer->index, pass.tile, place);
  while (candidates.any() && !__all_sync(kAllLanes, pixels.done())) {
    const Candidate mine = candidates.take();
    int count;
    const int at = put_hits(mine, place, memory.hits, count);
    if (at >= 0) load_values(pass, mine.row, at, memory);
    __syncwarp();
#pragma unroll 2
    for (int i = 0; i < count; ++i) {
      const Column column(memory.hits.shape(i), float(place.x));
      float carried[4 * kGroups];
#pragma unroll
      for (int group = 0; group < kGroups; ++group)
        reinterpret_cast<float4*>(carried)[group] = memory.values[i * kGroups + group];
      const float depth = kPlain ? 0 : memory.depth[i];
#pragma unroll
      for (int which = 0; which < kLanePixels; ++which) {
        Pixel<kValues, kPlain>& pixel = pixels.each[which];
        pixel.take(Step(column, float(place.row(which)), pixel.transmittance), carried, depth);
      }
    }
    __syncwarp();
  }
}

template <int kValues, bool kPlain>
__global__ void __launch_bounds__(kTileThreads)
blend_kernel(const __grid_constant__ BlendCall call, const __grid_constant__ Chosen chosen, int first_group) {
  __shared__ Memory<kValues, kPlain> memory[kWarps];
  const Pass pass{&call.layer[chosen.layer[blockIdx.y]], &call.lists, int(blockIdx.x), first_group};
  const Place place(call.lists, pass.tile);
  Pixels<kValues, kPlain> pixels;
#pragma unroll
  for (int which = 0; which < kLanePixels; ++which) {
    if (!place.inside(call.lists, which)) pixels.each[which].transmittance = -1;
  }
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

// A launch takes the layers with kLess < values left <= kValues, which fill as many float4s; and the first
// kValuesPerPass of those with more.
template <int kLess, int kValues, bool kPlain>
void launch_values(const BlendCall& call, int first_group, cudaStream_t stream) {
  Chosen chosen{};
  const int count = choose(call, first_group, kLess, kValues, kPlain, chosen);
  if (count == 0) return;
  launch("blending", blend_kernel<kValues, kPlain>, dim3(tiles_of(call.lists), count), kTileThreads, 0, stream, call,
         chosen, first_group);
}

template <bool kPlain>
void launch_all(const BlendCall& call, cudaStream_t stream) {
  const int groups = groups_of(call);
  for (int first_group = 0; first_group < groups; first_group += kValuesPerPass / 4) {
    launch_values<0, 4, kPlain>(call, first_group, stream);  // a colour and the depth
    launch_values<4, 7, kPlain>(call, first_group, stream);  // and three features
    launch_values<7, 8, kPlain>(call, first_group, stream);
    launch_values<8, 12, kPlain>(call, first_group, stream);
    launch_values<12, 13, kPlain>(call, first_group, stream);  // nine colours, three features and the depth
    launch_values<13, kValuesPerPass, kPlain>(call, first_group, stream);
  }
}

}  // namespace

void blend(const BlendCall& call, Stream stream) {
  if (call.half) {
    blend_half(call, stream);
  } else {
    launch_all<true>(call, stream_of(stream));
  }
  launch_all<false>(call, stream_of(stream));
}

}  // namespace moegs
