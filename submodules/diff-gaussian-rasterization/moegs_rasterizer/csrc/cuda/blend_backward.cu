// Gradients of blending, front to back once more; ../blend_backward.h derives them. Transmittance and the scalar
// residual stay in registers; nothing was stored on the way forward. slots.cuh tells how sums over pixels are made.
#include "slots.cuh"

namespace moegs {
namespace {

constexpr int kOwners = 2 * kWarp;  // of slots: a round adds up to 32 to the 15 that wait

// Whose slot it is: the row of its sums, and its mean.
struct Owner {
  int32_t row;
  float x, y;
};

// A warp's shared memory.
template <int kGroups, bool kLinear, bool kOrdered>
struct Memory {
  static constexpr int kFloats = pass_floats(4 * kGroups, kLinear);

  Hits hits;
  float4 values[kLinear ? 1 : kWarp * kGroups];
  float4 given[kGivenStride * kGroups];  // gradients of the images at the warp's pixels
  Slot<kLinear> slots[kSlots * kSlotStride];
  Owner owners[kOwners];
  float parts[kOrdered ? kWarp * kFloats : 1];  // sums for the round's candidates
};

struct Pass {
  const BlendBackwardLayer* layer;
  const Lists* lists;
  int tile, first_channel, first_float;
  int floats;  // of sums to write; those behind are of channels that only fill up a float4
};

// The gradient of a pixel's channel; features alone where linear.
template <bool kLinear>
__device__ __forceinline__ float given_gradient(const Pass& pass, int channel, int64_t at, int64_t plane) {
  const BlendBackwardLayer& layer = *pass.layer;
  if (kLinear) channel += layer.colour_channels;
  if (channel >= layer.channels) return 0;
  const bool colour = channel < layer.colour_channels;
  const float* image = colour ? layer.colour_gradient : layer.feature_gradient;
  return image ? image[(colour ? channel : channel - layer.colour_channels) * plane + at] : 0;
}

// What is still to come at the pixel before the first Gaussian: g . image, which holds the background, minus
// g_alpha T_last. Of this pass's channels; g_alpha counts in the first pass.
template <int kGroups>
__device__ float first_residual(const Pass& pass, const float* given, int64_t at, int64_t plane) {
  const BlendBackwardLayer& layer = *pass.layer;
  float residual = 0;
#pragma unroll
  for (int k = 0; k < 4 * kGroups; ++k) {
    const int channel = pass.first_channel + k;
    if (channel >= layer.channels) continue;
    const bool colour = channel < layer.colour_channels;
    const float* image = colour ? layer.colour : layer.features;
    residual = fmaf(given[k], image[(colour ? channel : channel - layer.colour_channels) * plane + at], residual);
  }
  if (pass.first_channel == 0 && layer.alpha_gradient) residual -= layer.alpha_gradient[at] * layer.left[at];
  return residual;
}

// A warp at its part of a tile.
template <int kGroups, bool kLinear, bool kOrdered>
class Part {
 public:
  using Mine = Memory<kGroups, kLinear, kOrdered>;
  static constexpr int kFloats = Mine::kFloats;

  __device__ Part(const BlendBackwardCall& call, const Pass& pass, Mine* memory)
      : call_(call), pass_(pass), place_(*pass.lists, pass.tile), all_(memory), mine_(memory[place_.warp]) {
    const int64_t at = place_.pixel(*pass.lists), plane = int64_t(pass.lists->width) * pass.lists->height;
    done_ = !place_.inside;
    float given[4 * kGroups];
#pragma unroll
    for (int k = 0; k < 4 * kGroups; ++k)
      given[k] = place_.inside ? given_gradient<kLinear>(pass, pass.first_channel + k, at, plane) : 0;
    if (!kLinear && place_.inside) residual_ = first_residual<kGroups>(pass, given, at, plane);
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      given_[group] = make_float4(given[4 * group], given[4 * group + 1], given[4 * group + 2], given[4 * group + 3]);
      mine_.given[given_at(place_.lane) * kGroups + group] = given_[group];
    }
  }

  __device__ __forceinline__ void run() {
    Candidates<true> candidates(*pass_.lists, pass_.layer->index, pass_.tile, place_);
    while (candidates.any() && !finished()) {
      const int64_t round = candidates.start();
      const Candidate mine = candidates.take();
      int count;
      const int at = put_hits(mine, place_, mine_.hits, count);
      if (at >= 0) {
        load_values(mine.row, at);
        mine_.owners[(owner_ + filled_ + at) % kOwners] = {kOrdered ? place_.lane : mine.row, mine.one.x, mine.one.y};
      }
      if (kOrdered) clear_parts();
      __syncwarp();
      walk(count);
      if (!kOrdered) continue;
      flush();
      __syncthreads();
      write_parts(round, candidates.last());
      __syncthreads();
    }
    flush();
  }

 private:
  // Where the order counts, warps go along together, as they add up each round's sums together.
  __device__ __forceinline__ bool finished() const {
    return kOrdered ? __syncthreads_and(done_) : __all_sync(kAllLanes, done_);
  }

  __device__ __forceinline__ void load_values(int32_t row, int at) {
    if constexpr (!kLinear) {
      const int64_t within = row - pass_.lists->first[pass_.layer->index];
      const int64_t value = pass_.layer->first_value + within * (pass_.layer->channels / 4 + 1);
#pragma unroll
      for (int group = 0; group < kGroups; ++group)
        mine_.values[at * kGroups + group] = load4(pass_.lists->values + 4 * (value + pass_.first_channel / 4 + group));
    }
  }

  __device__ __forceinline__ void walk(int count) {
    for (int i = 0; i < count;) {
      const int run = min(kSlots - filled_, count - i);
#pragma unroll 2
      for (int k = 0; k < run; ++k) step(i + k, filled_ + k);
      i += run;
      filled_ += run;
      if (filled_ == kSlots) flush();
    }
    __syncwarp();
  }

  // One hit at the warp's pixels, into a slot.
  __device__ __forceinline__ void step(int at, int slot) {
    const Step step(mine_.hits.one[at], mine_.hits.two[at], place_, transmittance_);
    const bool visible = step.visible && !done_, taken = visible && !step.stops;
    done_ = done_ || (visible && step.stops);
    const float w = taken ? step.weight : 0;
    const int to = slot * kSlotStride + place_.lane;
    if constexpr (kLinear) {
      mine_.slots[to] = w;
    } else {
      mine_.slots[to] = {along_alpha(step, w, taken, mine_.values + at * kGroups), w};
    }
    if (taken) transmittance_ = step.after;
  }

  // d loss / d ln alpha. Nothing passes where alpha was cut to its limit.
  __device__ __forceinline__ float along_alpha(const Step& step, float w, bool taken, const float4* values) {
    float toward = 0;  // g . c
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      const float4 c = values[group];
      toward = fmaf(given_[group].x, c.x, toward);
      toward = fmaf(given_[group].y, c.y, toward);
      toward = fmaf(given_[group].z, c.z, toward);
      toward = fmaf(given_[group].w, c.w, toward);
    }
    residual_ = fmaf(-w, toward, residual_);
    const float v = w * (toward - __fdividef(residual_, step.after));
    return taken && step.raw <= kLargestAlpha ? v : 0;
  }

  // Sums of the full slots, to memory; their owners are forgotten.
  __device__ __forceinline__ void flush() {
    __syncwarp();
    if (filled_ > 0) {
      const int slot = place_.lane % kSlots, half = place_.lane / kSlots;
      const Owner owner = mine_.owners[(owner_ + min(slot, filled_ - 1)) % kOwners];
      float sums[kFloats] = {};
      sum_slot<kGroups, kLinear>(mine_.slots + slot * kSlotStride, mine_.given, half,
                                 make_float2(place_.part_x - owner.x, place_.part_y - owner.y), sums);
      share_out<kFloats>(sums, half, [&](int first, float4 four) {
        if (slot >= filled_ || first >= pass_.floats) return;
        if constexpr (kOrdered) {
          store4(mine_.parts + owner.row * kFloats + first, four);
        } else {
          add4(call_.sums + int64_t(owner.row) * call_.sum_stride + pass_.first_float + first, four);
        }
      });
    }
    owner_ = (owner_ + filled_) % kOwners;
    filled_ = 0;
    __syncwarp();
  }

  __device__ __forceinline__ void clear_parts() {
    for (int k = place_.lane; k < kWarp * kFloats; k += kWarp) mine_.parts[k] = 0;
  }

  // Sums of the warps, always in the same order, to the instances' rows.
  __device__ __forceinline__ void write_parts(int64_t first, int64_t last) {
    for (int k = threadIdx.x; k < kWarp * kFloats; k += kTileThreads) {
      const int64_t instance = first + k / kFloats;
      if (k % kFloats >= pass_.floats || instance >= last) continue;
      float sum = 0;
      for (int warp = 0; warp < kWarps; ++warp) sum += all_[warp].parts[k];
      call_.sums[instance * call_.sum_stride + pass_.first_float + k % kFloats] = sum;
    }
  }

  const BlendBackwardCall& call_;
  const Pass& pass_;
  const Place place_;
  Mine* const all_;  // of the block's warps
  Mine& mine_;
  float4 given_[kGroups];
  float transmittance_ = 1, residual_ = 0;
  int filled_ = 0, owner_ = 0;  // slots, and the owner of the first
  bool done_;
};

// Layers of one launch: those with as many channels left.
struct Chosen {
  int layer[kMostLayers];
};

__host__ __device__ int channels_left(const BlendBackwardCall& call, int layer, int first_channel) {
  const BlendBackwardLayer& it = call.layer[layer];
  return (call.linear ? it.channels - it.colour_channels : it.channels) - first_channel;
}

template <int kGroups, bool kLinear, bool kOrdered>
__global__ void __launch_bounds__(kTileThreads)
backward_kernel(const __grid_constant__ BlendBackwardCall call, const __grid_constant__ Chosen chosen,
                int first_channel) {
  extern __shared__ float4 memory[];
  const int layer = chosen.layer[blockIdx.y];
  const Pass pass{&call.layer[layer],
                  &call.lists,
                  int(blockIdx.x),
                  first_channel,
                  first_channel / kValuesPerPass * pass_floats(kValuesPerPass, kLinear),
                  pass_floats(min(kValuesPerPass, channels_left(call, layer, first_channel)), kLinear)};
  Part<kGroups, kLinear, kOrdered>(call, pass, reinterpret_cast<Memory<kGroups, kLinear, kOrdered>*>(memory)).run();
}

template <int kGroups, bool kLinear, bool kOrdered>
void launch(const BlendBackwardCall& call, int first_channel, cudaStream_t stream) {
  Chosen chosen{};
  int count = 0;
  for (int layer = 0; layer < call.count; ++layer) {
    int groups = (channels_left(call, layer, first_channel) + 3) / 4;
    if (!kLinear && first_channel == 0) groups = max(groups, 1);  // alpha alone sends gradients too
    if (groups == kGroups || (kGroups == kValuesPerPass / 4 && groups > kGroups)) chosen.layer[count++] = layer;
  }
  if (count == 0) return;
  const Lists& lists = call.lists;
  const int tiles = ((lists.width + kTile - 1) / kTile) * ((lists.height + kTile - 1) / kTile);
  constexpr size_t bytes = kWarps * sizeof(Memory<kGroups, kLinear, kOrdered>);
  const auto kernel = backward_kernel<kGroups, kLinear, kOrdered>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes), "asking for shared memory");
  kernel<<<dim3(tiles, count), kTileThreads, bytes, stream>>>(call, chosen, first_channel);
  check(cudaGetLastError(), "blending backwards");
}

template <bool kLinear, bool kOrdered>
void launch_all(const BlendBackwardCall& call, cudaStream_t stream) {
  int most = kLinear ? 0 : 1;
  for (int layer = 0; layer < call.count; ++layer) most = max(most, channels_left(call, layer, 0));
  for (int first = 0; first < most; first += kValuesPerPass) {
    launch<1, kLinear, kOrdered>(call, first, stream);
    launch<2, kLinear, kOrdered>(call, first, stream);
    launch<3, kLinear, kOrdered>(call, first, stream);
    launch<4, kLinear, kOrdered>(call, first, stream);
  }
}

}  // namespace

void blend_backward(const BlendBackwardCall& call, Stream stream) {
  if (call.linear) {
    (call.ordered ? launch_all<true, true> : launch_all<true, false>)(call, stream_of(stream));
  } else {
    (call.ordered ? launch_all<false, true> : launch_all<false, false>)(call, stream_of(stream));
  }
}

}  // namespace moegs
