// Gradients of blending, front to back once more; ../blend_backward.h derives them.
//
// A lane is a pixel while it blends: transmittance and the scalar residual stay in its registers, nothing was stored on
// the way forward. Sums over pixels want it the other way round. So each warp writes what its pixels say of a Gaussian
// (v, d loss / d ln alpha, and w, its weight) to a slot in shared memory, and once kSlots are full each lane sums up
// one Gaussian over half of the pixels: no reduction by shuffles, one addition to memory a Gaussian and part of a tile.
#include "tile.cuh"

namespace moegs {
namespace {

constexpr int kBatch = 128;
constexpr int kSlots = 16;                  // lanes of a half warp
constexpr int kHalf = kWarp / 2;            // pixels that a lane sums up: two rows of the part
constexpr int kSlotStride = kWarp + 1;      // so that lanes that walk along their slots meet different banks
constexpr int kGivenStride = kWarp + 1;     // a gap after the first half, for the same reason

struct Said {
  float v, w;
};

// Whose slot it is: the row of its sums, and its mean.
struct Owner {
  int32_t row;
  float x, y;
};

template <int kGroups, bool kLinear, bool kOrdered>
struct Shared {
  using Slot = typename std::conditional<kLinear, float, Said>::type;
  static constexpr int kFloats = pass_floats(4 * kGroups, kLinear);

  Batch<kBatch> batch;
  float4 values[kLinear ? 1 : kBatch * kGroups];
  float4 given[kWarps][kGivenStride * kGroups];  // gradients of the images at the warp's pixels
  Slot slots[kWarps][kSlots * kSlotStride];
  Owner owners[kWarps][kSlots];
  float parts[kOrdered ? kWarps * kWarp * kFloats : 1];  // sums of each warp for 32 instances
};

struct Pass {
  const BlendBackwardLayer* layer;
  const Lists* lists;
  int tile, first_channel, first_float;
  int floats;  // of sums to write; those behind are of channels that only fill up a float4
};

__device__ __forceinline__ int given_at(int pixel) { return pixel + pixel / kHalf; }

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

__device__ __forceinline__ void add4(float* to, float4 value) {
#if __CUDA_ARCH__ >= 900 && (__CUDACC_VER_MAJOR__ > 12 || (__CUDACC_VER_MAJOR__ == 12 && __CUDACC_VER_MINOR__ >= 1))
  asm volatile("red.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(to), "f"(value.x), "f"(value.y), "f"(value.z),
               "f"(value.w)
               : "memory");
#else
  atomicAdd(to, value.x);
  atomicAdd(to + 1, value.y);
  atomicAdd(to + 2, value.z);
  atomicAdd(to + 3, value.w);
#endif
}

// Moments of v about the Gaussian's mean, from sums over rows of pixels: v, v column, v column^2.
struct RowSums {
  float zero = 0, one = 0, two = 0;
  __device__ __forceinline__ void add(float v, float column) {
    zero += v;
    one = fmaf(v, column, one);
    two = fmaf(v, column * column, two);
  }
};

__device__ __forceinline__ void add_moments(const RowSums& row, float dx, float dy, float* moments) {
  const float by_x = fmaf(dx, row.zero, row.one);
  moments[0] += row.zero;
  moments[1] += by_x;
  moments[2] = fmaf(dy, row.zero, moments[2]);
  moments[3] += fmaf(dx, by_x + row.one, row.two);
  moments[4] = fmaf(dy, by_x, moments[4]);
  moments[5] = fmaf(dy * dy, row.zero, moments[5]);
}

// Sums of one slot over half of the warp's pixels; v is 0 throughout where linear.
template <int kGroups, bool kLinear, typename Slot>
__device__ __forceinline__ void sum_slot(const Slot* slot, const float4* given, int half, float2 to_part, float* sums) {
  constexpr int kFirst = kLinear ? 0 : kMoments;
#pragma unroll
  for (int y = 0; y < kHalf / kPartWidth; ++y) {
    RowSums row;
#pragma unroll
    for (int x = 0; x < kPartWidth; ++x) {
      const int pixel = half * kHalf + y * kPartWidth + x;
      float w;
      if constexpr (kLinear) {
        w = slot[pixel];
      } else {
        const Said said = slot[pixel];
        w = said.w;
        row.add(said.v, float(x));
      }
#pragma unroll
      for (int group = 0; group < kGroups; ++group) {
        const float4 g = given[given_at(pixel) * kGroups + group];
        sums[kFirst + 4 * group] = fmaf(w, g.x, sums[kFirst + 4 * group]);
        sums[kFirst + 4 * group + 1] = fmaf(w, g.y, sums[kFirst + 4 * group + 1]);
        sums[kFirst + 4 * group + 2] = fmaf(w, g.z, sums[kFirst + 4 * group + 2]);
        sums[kFirst + 4 * group + 3] = fmaf(w, g.w, sums[kFirst + 4 * group + 3]);
      }
    }
    if constexpr (!kLinear) add_moments(row, to_part.x, to_part.y + float(2 * half + y), sums);
  }
}

// Adds up the two halves of a slot and hands out the sums by fours, even fours to one lane, odd ones to the other.
template <int kFloats, typename Take>
__device__ __forceinline__ void share_out(const float* sums, int half, const Take& take) {
#pragma unroll
  for (int four = 0; four < kFloats / 4; four += 2) {
    float mine[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const float even = sums[4 * four + k], odd = four * 4 + 4 < kFloats ? sums[4 * four + 4 + k] : 0;
      mine[k] = (half ? odd : even) + __shfl_xor_sync(kAllLanes, half ? even : odd, kHalf);
    }
    if (four * 4 + 4 * half < kFloats) take(4 * (four + half), make_float4(mine[0], mine[1], mine[2], mine[3]));
  }
}

template <int kGroups, bool kLinear, bool kOrdered>
class Tile {
 public:
  using Memory = Shared<kGroups, kLinear, kOrdered>;
  static constexpr int kFloats = Memory::kFloats;

  __device__ Tile(const BlendBackwardCall& call, const Pass& pass, Memory& memory)
      : call_(call), pass_(pass), memory_(memory), place_(*pass.lists, pass.tile) {
    const int64_t at = place_.pixel(*pass.lists), plane = int64_t(pass.lists->width) * pass.lists->height;
    done_ = !place_.inside;
    float given[4 * kGroups];
#pragma unroll
    for (int k = 0; k < 4 * kGroups; ++k)
      given[k] = place_.inside ? given_gradient<kLinear>(pass, pass.first_channel + k, at, plane) : 0;
    if (!kLinear && place_.inside) residual_ = first_residual<kGroups>(pass, given, at, plane);
    for (int group = 0; group < kGroups; ++group) {
      given_[group] = make_float4(given[4 * group], given[4 * group + 1], given[4 * group + 2], given[4 * group + 3]);
      memory.given[place_.warp][given_at(place_.lane) * kGroups + group] = given_[group];
    }
  }

  __device__ void run() {
    const Lists& lists = *pass_.lists;
    const int across = (lists.width + kTile - 1) / kTile, down = (lists.height + kTile - 1) / kTile;
    const int cell = pass_.layer->index * across * down + pass_.tile;
    const int first = lists.ranges[2 * cell], last = lists.ranges[2 * cell + 1];
    for (int start = first; start < last; start += kBatch) {
      if (__syncthreads_and(done_)) break;
      const int count = min(kBatch, last - start);
      if (threadIdx.x < count) load_entry(lists.instances[start + threadIdx.x], threadIdx.x);
      __syncthreads();
      run_batch(start, count);
    }
    flush();
  }

 private:
  __device__ __forceinline__ void load_entry(int32_t row, int at) {
    const Lists& lists = *pass_.lists;
    memory_.batch.row[at] = row;
    memory_.batch.one[at] = load4(lists.shapes + int64_t(kShapeFloats) * row);
    memory_.batch.two[at] = load4(lists.shapes + int64_t(kShapeFloats) * row + 4);
    if constexpr (!kLinear) {
      const int64_t within = row - lists.first[pass_.layer->index];
      const int64_t value = pass_.layer->first_value + within * (pass_.layer->channels / 4 + 1);
#pragma unroll
      for (int group = 0; group < kGroups; ++group)
        memory_.values[at * kGroups + group] = load4(lists.values + 4 * (value + pass_.first_channel / 4 + group));
    }
  }

  __device__ __forceinline__ void run_batch(int first_place, int count) {
    for (int start = 0; start < count; start += kWarp) {
      if (kOrdered) clear_parts();
      if (!__all_sync(kAllLanes, done_)) {
        for (unsigned left = hits(memory_.batch, start, count, place_); left; left &= left - 1) {
          const int next = __ffs(left) - 1;
          filled_ += step(start + next, kOrdered ? next : memory_.batch.row[start + next]);
          if (filled_ == kSlots) flush();
        }
      }
      if (!kOrdered) continue;
      flush();
      __syncthreads();
      write_parts(first_place + start, min(kWarp, count - start));
      __syncthreads();
    }
  }

  // One Gaussian at the warp's pixels, into the next slot; 0 where none of them takes it.
  __device__ __forceinline__ int step(int at, int row) {
    const Step step(memory_.batch.one[at], memory_.batch.two[at], place_, transmittance_);
    const bool visible = step.visible && !done_, taken = visible && !step.stops;
    done_ = done_ || (visible && step.stops);
    if (!__any_sync(kAllLanes, taken)) return 0;
    const int to = filled_ * kSlotStride + place_.lane;
    const float w = taken ? step.weight : 0;
    if constexpr (kLinear) {
      memory_.slots[place_.warp][to] = w;
    } else {
      memory_.slots[place_.warp][to] = {taken ? along_alpha(step, at) : 0, w};
    }
    if (taken) transmittance_ = step.after;
    if (place_.lane == 0)
      memory_.owners[place_.warp][filled_] = {row, memory_.batch.one[at].x, memory_.batch.one[at].y};
    return 1;
  }

  // d loss / d ln alpha. Nothing passes where alpha was cut to its limit.
  __device__ __forceinline__ float along_alpha(const Step& step, int at) {
    float toward = 0;  // g . c
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      const float4 c = memory_.values[at * kGroups + group];
      toward = fmaf(given_[group].x, c.x, toward);
      toward = fmaf(given_[group].y, c.y, toward);
      toward = fmaf(given_[group].z, c.z, toward);
      toward = fmaf(given_[group].w, c.w, toward);
    }
    residual_ = fmaf(-step.weight, toward, residual_);
    return step.raw <= kLargestAlpha ? step.weight * (toward - __fdividef(residual_, step.after)) : 0;
  }

  __device__ __forceinline__ void flush() {
    __syncwarp();
    if (filled_ > 0) {
      const int slot = place_.lane % kSlots, half = place_.lane / kSlots;
      const Owner owner = memory_.owners[place_.warp][min(slot, filled_ - 1)];
      float sums[kFloats] = {};
      sum_slot<kGroups, kLinear>(memory_.slots[place_.warp] + slot * kSlotStride, memory_.given[place_.warp], half,
                                 make_float2(place_.part_x - owner.x, place_.part_y - owner.y), sums);
      share_out<kFloats>(sums, half, [&](int first, float4 four) {
        if (slot >= filled_ || first >= pass_.floats) return;
        if constexpr (kOrdered) {
          store4(memory_.parts + (place_.warp * kWarp + owner.row) * kFloats + first, four);
        } else {
          add4(call_.sums + int64_t(owner.row) * call_.sum_stride + pass_.first_float + first, four);
        }
      });
    }
    filled_ = 0;
    __syncwarp();
  }

  __device__ __forceinline__ void clear_parts() {
    for (int k = place_.lane; k < kWarp * kFloats; k += kWarp) memory_.parts[place_.warp * kWarp * kFloats + k] = 0;
    __syncwarp();
  }

  // Sums of the warps, always in the same order, to the instances' rows.
  __device__ __forceinline__ void write_parts(int place, int count) {
    for (int k = threadIdx.x; k < count * kFloats; k += kTileThreads) {
      if (k % kFloats >= pass_.floats) continue;
      float sum = 0;
      for (int warp = 0; warp < kWarps; ++warp) sum += memory_.parts[warp * kWarp * kFloats + k];
      call_.sums[int64_t(place + k / kFloats) * call_.sum_stride + pass_.first_float + k % kFloats] = sum;
    }
  }

  const BlendBackwardCall& call_;
  const Pass& pass_;
  Memory& memory_;
  const Place place_;
  float4 given_[kGroups];
  float transmittance_ = 1, residual_ = 0;
  int filled_ = 0;  // slots
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
  Tile<kGroups, kLinear, kOrdered>(call, pass, *reinterpret_cast<Shared<kGroups, kLinear, kOrdered>*>(memory)).run();
}

template <int kGroups, bool kLinear, bool kOrdered>
void launch(const BlendBackwardCall& call, int first_channel, cudaStream_t stream) {
  Chosen chosen{};
  int count = 0;
  for (int layer = 0; layer < call.count; ++layer) {
    const int groups = (channels_left(call, layer, first_channel) + 3) / 4;
    if (groups == kGroups || (kGroups == kValuesPerPass / 4 && groups > kGroups)) chosen.layer[count++] = layer;
  }
  if (count == 0) return;
  const Lists& lists = call.lists;
  const int tiles = ((lists.width + kTile - 1) / kTile) * ((lists.height + kTile - 1) / kTile);
  constexpr size_t bytes = sizeof(Shared<kGroups, kLinear, kOrdered>);
  const auto kernel = backward_kernel<kGroups, kLinear, kOrdered>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes), "asking for shared memory");
  kernel<<<dim3(tiles, count), kTileThreads, bytes, stream>>>(call, chosen, first_channel);
  check(cudaGetLastError(), "blending backwards");
}

template <bool kLinear, bool kOrdered>
void launch_all(const BlendBackwardCall& call, cudaStream_t stream) {
  int most = 0;
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
