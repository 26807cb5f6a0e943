// A warp on its way back through a tile's list: gradients at its pixels, and their sums a Gaussian (slots.cuh).
#pragma once

#include "given.cuh"
#include "slots.cuh"

namespace moegs {

constexpr int kOwners = 2 * kWarp;  // of slots: a round adds up to 32 to the 15 that wait

// Whose slot it is: the row of its sums, and its mean.
struct Owner {
  int32_t row;
  float x, y;
};

// A warp's shared memory. Channels are rounded up to whole products.
template <int kGroups, bool kLinear, bool kOrdered>
struct Memory {
  static constexpr int kProducts = (4 * kGroups + kColumns - 1) / kColumns;
  static constexpr int kFirst = kLinear ? 0 : kMoments;  // of the channels' sums
  static constexpr int kFloats = pass_floats(kProducts * kColumns, kLinear);

  Hits hits;
  float4 values[kLinear ? 1 : kWarp * kGroups];
  float given[kPartPixels * kProducts * kColumns];  // gradients of the images at the warp's pixels
  float v[kLinear ? 1 : kSlots * kSlotStride];      // d loss / d ln alpha
  float w[kSlots * kSlotStride];                    // alpha times transmittance
  Owner owners[kOwners];
  alignas(8) float parts[kOrdered ? kWarp * kFloats : 1];  // sums for the round's candidates, two at a time
};

// A lane's pixel on the way back.
template <int kGroups>
struct Pixel {
  float given[4 * kGroups];  // gradients of the images
  float transmittance = 1, residual = 0;

  // d loss / d ln alpha. Nothing passes where alpha was cut to its limit.
  __device__ __forceinline__ float along_alpha(const Step& step, const float4 (&values)[kGroups]) {
    float toward = 0;  // g . c
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      toward = fmaf(given[4 * group], values[group].x, toward);
      toward = fmaf(given[4 * group + 1], values[group].y, toward);
      toward = fmaf(given[4 * group + 2], values[group].z, toward);
      toward = fmaf(given[4 * group + 3], values[group].w, toward);
    }
    residual = fmaf(-step.weight, toward, residual);
    const float v = step.weight * (toward - __fdividef(residual, step.after));
    return step.taken && step.raw <= kLargestAlpha ? v : 0;
  }
};

// A warp at its part of a tile.
template <int kGroups, bool kLinear, bool kOrdered, bool kListed>
class Part {
 public:
  using Mine = Memory<kGroups, kLinear, kOrdered>;

  __device__ Part(const BlendBackwardCall& call, const Pass& pass, Mine* memory)
      : call_(call), pass_(pass), place_(*pass.lists, pass.tile), all_(memory), mine_(memory[place_.warp]) {
    const int64_t plane = int64_t(pass.lists->width) * pass.lists->height;
#pragma unroll
    for (int which = 0; which < kLanePixels; ++which) {
      Pixel<kGroups>& pixel = pixels_[which];
      const bool inside = place_.inside(*pass.lists, which);
      const int64_t at = place_.pixel(*pass.lists, which);
      if (!inside) pixel.transmittance = -1;
#pragma unroll
      for (int k = 0; k < 4 * kGroups; ++k)
        pixel.given[k] = inside ? given_gradient<kLinear>(pass, pass.first_channel + k, at, plane) : 0;
      if (!kLinear && inside) pixel.residual = first_residual<kGroups>(pass, pixel.given, at, plane);
      float* to = mine_.given + (place_.lane + which * kWarp) * Mine::kProducts * kColumns;
#pragma unroll
      for (int k = 0; k < Mine::kProducts * kColumns; ++k) to[k] = k < 4 * kGroups ? pixel.given[k] : 0;
    }
  }

  __device__ __forceinline__ void run() {
    Candidates<kListed> candidates(*pass_.lists, pass_.layer->index, pass_.tile, place_);
    while (candidates.any() && !finished()) {
      const int64_t round = candidates.start();
      const Candidate mine = candidates.take();
      int count;
      const int at = put_hits(mine, place_, mine_.hits, count);
      if (at >= 0) {
        load_values(mine.row, at);
        mine_.owners[(owner_ + filled_ + at) % kOwners] = {kOrdered ? place_.lane : mine.row, mine.shape.x,
                                                           mine.shape.y};
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
    bool done = true;
#pragma unroll
    for (int which = 0; which < kLanePixels; ++which) done = done && pixels_[which].transmittance < 0;
    return kOrdered ? __syncthreads_and(done) : __all_sync(kAllLanes, done);
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
    const Column column(mine_.hits.shape(at), float(place_.x));
    float4 values[kGroups];
    if constexpr (!kLinear) {
#pragma unroll
      for (int group = 0; group < kGroups; ++group) values[group] = mine_.values[at * kGroups + group];
    }
#pragma unroll
    for (int which = 0; which < kLanePixels; ++which) {
      Pixel<kGroups>& pixel = pixels_[which];
      const Step step(column, float(place_.row(which)), pixel.transmittance);
      const int to = slot * kSlotStride + which * kWarp + place_.lane;
      mine_.w[to] = step.weight;
      if constexpr (!kLinear) mine_.v[to] = pixel.along_alpha(step, values);
      pixel.transmittance = step.left;
    }
  }

  // Sums of the filled slots, to memory; their owners are forgotten.
  __device__ __forceinline__ void flush() {
    __syncwarp();
    if (filled_ > 0) {
      if constexpr (!kLinear) {
        const Product moments = moments_of(mine_.v, place_.lane);
#pragma unroll
        for (int which = 0; which < 2; ++which) {
          const Owner owner = owner_of(which);
          const float2 offset = make_float2(place_.part_x - owner.x, place_.part_y - owner.y);
          const float2 sums = make_float2(moments.sums[which][0], moments.sums[which][1]);
          const float2 about = about_mean(sums, place_.lane, offset);
          if (product_column(place_.lane) < kMoments) put(which, owner, product_column(place_.lane), about);
        }
      }
#pragma unroll
      for (int first = 0; first < Mine::kProducts; ++first) {
        constexpr int kStride = Mine::kProducts * kColumns;
        const Product channels = channels_of(mine_.w, mine_.given + first * kColumns, kStride, place_.lane);
#pragma unroll
        for (int which = 0; which < 2; ++which)
          put(which, owner_of(which), Mine::kFirst + first * kColumns + product_column(place_.lane),
              make_float2(channels.sums[which][0], channels.sums[which][1]));
      }
    }
    owner_ = (owner_ + filled_) % kOwners;
    filled_ = 0;
    __syncwarp();
  }

  // Of the slot whose sums the lane holds.
  __device__ __forceinline__ Owner owner_of(int which) const {
    return mine_.owners[(owner_ + min(product_row(place_.lane, which), filled_ - 1)) % kOwners];
  }

  __device__ __forceinline__ void put(int which, const Owner& owner, int column, float2 sums) {
    if (product_row(place_.lane, which) >= filled_ || column >= pass_.floats) return;
    if constexpr (kOrdered) {
      *reinterpret_cast<float2*>(mine_.parts + owner.row * Mine::kFloats + column) = sums;
    } else {
      add2(call_.sums + int64_t(owner.row) * call_.sum_stride + pass_.first_float + column, sums);
    }
  }

  __device__ __forceinline__ void clear_parts() {
    for (int k = place_.lane; k < kWarp * Mine::kFloats; k += kWarp) mine_.parts[k] = 0;
  }

  // Sums of the warps, always in the same order, to the instances' rows.
  __device__ __forceinline__ void write_parts(int64_t first, int64_t last) {
    for (int k = threadIdx.x; k < kWarp * Mine::kFloats; k += kTileThreads) {
      const int64_t instance = first + k / Mine::kFloats;
      const int column = k % Mine::kFloats;
      if (column >= pass_.floats || instance >= last) continue;
      float sum = 0;
      for (int warp = 0; warp < kWarps; ++warp) sum += all_[warp].parts[k];
      call_.sums[instance * call_.sum_stride + pass_.first_float + column] = sum;
    }
  }

  const BlendBackwardCall& call_;
  const Pass& pass_;
  const Place place_;
  Mine* const all_;  // of the block's warps
  Mine& mine_;
  Pixel<kGroups> pixels_[kLanePixels];
  int filled_ = 0, owner_ = 0;  // slots, and the owner of the first
};

}  // namespace moegs
