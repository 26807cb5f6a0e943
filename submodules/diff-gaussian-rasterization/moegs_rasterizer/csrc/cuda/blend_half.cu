// Blending in half precision, without gradients: a lane's two pixels are the halves of each number, so that an
// instruction serves both. An ellipse's exponent is log2(opacity) - u^2 - v^2, u and v linear in the pixel (Cholesky
// factors of the conic, about the middle of the warp's pixels): nothing cancels, as it would in a dx^2 + b dx dy + c
// dy^2. A round of at most 32 hits adds up in halves, and transmittance and sums go on in floats from round to round.
#include "halves.cuh"
#include "pixels.cuh"

namespace moegs {
namespace {

constexpr float kLargestValue = 60000;  // halves reach 65,504, and rounding may lift a sum

// Four pairs of numbers, read at once.
struct alignas(16) Quad {
  Half2 pair[4];
};

// A warp's hits of a round. Values lie in pairs: the first two with the shape, the others behind each other.
template <int kValues>
struct HalfMemory {
  static constexpr int kQuads = (kValues + 5) / 8;  // of values beyond two

  Quad shapes[kWarp];  // u: along x and y; u in the middle, v along y; v in the middle, log2 of the opacity; two values
  Quad values[kWarp * kQuads];
};

// A lane's pixels.
template <int kValues>
struct HalfPixels {
  float sums[kLanePixels][kValues] = {};
  float transmittance[kLanePixels];

  __device__ __forceinline__ bool done() const {
    return transmittance[0] < kLeastTransmittance && transmittance[1] < kLeastTransmittance;
  }
};
static_assert(kLanePixels == 2, "a pair of halves for a lane's pixels");

__device__ __forceinline__ float in_range(float value) { return fminf(fmaxf(value, -kLargestValue), kLargestValue); }

// The exponent's Cholesky factors, and where the mean lies from the middle of the warp's pixels.
__device__ __forceinline__ Quad factored(const Shape& shape, const Place& place, Half2 values) {
  const float x = place.part_x + (kPartSide - 1) * 0.5f - shape.x, y = place.part_y + (kPartSide - 1) * 0.5f - shape.y;
  const float along_x = root(fmaxf(-shape.a, 1e-20f));
  const float along_y = __fdividef(-0.5f * shape.b, along_x);
  const float alone = root(fmaxf(0.0f, fmaf(-along_y, along_y, -shape.c)));
  return {{halves(along_x, along_y), halves(fmaf(along_x, x, along_y * y), alone),
           halves(alone * y, shape.log2_opacity), values}};
}

// The hits among a round's candidates, to the warp's memory; how many there are.
template <int kValues>
__device__ __forceinline__ int put_halves(const Pass& pass, const Candidate& mine, const Place& place,
                                          HalfMemory<kValues>& memory) {
  const bool hit = mine.row >= 0 && (!kWarpCulling || meets(mine.shape, place.part_x, place.part_y));
  const unsigned votes = __ballot_sync(kAllLanes, hit);
  if (!hit) return __popc(votes);
  const int at = __popc(votes & ((1u << place.lane) - 1));
  const int64_t within = mine.row - pass.lists->first[pass.layer->index];
  const float* values = pass.lists->values + 4 * (pass.layer->first_value + within * pass.groups() + pass.first_group);
  const float4 first = load4(values);
  memory.shapes[at] = factored(mine.shape, place, halves(in_range(first.x), in_range(first.y)));
  Half2 last = halves(in_range(first.z), in_range(first.w));
#pragma unroll
  for (int quad = 0; quad < HalfMemory<kValues>::kQuads; ++quad) {
    Quad to{{last, last, last, last}};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int group = 1 + 2 * quad + half;  // of floats
      if (4 * group >= kValues) continue;
      const float4 four = load4(values + 4 * group);
      to.pair[1 + 2 * half] = halves(in_range(four.x), in_range(four.y));
      last = halves(in_range(four.z), in_range(four.w));
      if (half == 0) to.pair[2] = last;
    }
    memory.values[at * HalfMemory<kValues>::kQuads + quad] = to;
  }
  return __popc(votes);
}

// One round: the hits at the lane's pixels, front to back, and what they leave.
template <int kValues>
__device__ __forceinline__ void walk(const HalfMemory<kValues>& memory, int count, Half2 x, Half2 y,
                                     HalfPixels<kValues>& pixels) {
  constexpr int kQuads = HalfMemory<kValues>::kQuads;
  const Half2 level = halves(-kLevel, -kLevel), most = halves(kLargestAlpha, kLargestAlpha);
  Half2 left = halves(1, 1), sums[kValues];
#pragma unroll
  for (int k = 0; k < kValues; ++k) sums[k] = halves(0, 0);
#pragma unroll 2
  for (int i = 0; i < count; ++i) {
    const Quad shape = memory.shapes[i];
    const Half2 u = fused(highs(shape.pair[0]), y, fused(lows(shape.pair[0]), x, lows(shape.pair[1])));
    const Half2 v = fused(highs(shape.pair[1]), y, lows(shape.pair[2]));
    const Half2 exponent = less(v, v, less(u, u, highs(shape.pair[2])));
    const Half2 alpha = where_at_least(exponent, level, smaller(exp2_quick(exponent), most));
    const Half2 weight = times(alpha, left);
    left = less(alpha, left, left);
    sums[0] = fused(weight, lows(shape.pair[3]), sums[0]);
    if (kValues > 1) sums[1] = fused(weight, highs(shape.pair[3]), sums[1]);
#pragma unroll
    for (int quad = 0; quad < kQuads; ++quad) {
      const Quad values = memory.values[i * kQuads + quad];
#pragma unroll
      for (int k = 0; k < 8; ++k) {
        const Half2 value = k % 2 ? highs(values.pair[k / 2]) : lows(values.pair[k / 2]);
        if (2 + 8 * quad + k < kValues) sums[2 + 8 * quad + k] = fused(weight, value, sums[2 + 8 * quad + k]);
      }
    }
  }
#pragma unroll
  for (int k = 0; k < kValues; ++k) {
    const float2 both = floats_of(sums[k]);
    pixels.sums[0][k] = fmaf(pixels.transmittance[0], both.x, pixels.sums[0][k]);
    pixels.sums[1][k] = fmaf(pixels.transmittance[1], both.y, pixels.sums[1][k]);
  }
  const float2 both = floats_of(left);
  pixels.transmittance[0] *= both.x;
  pixels.transmittance[1] *= both.y;
}

template <bool kListed, int kValues>
__device__ __forceinline__ void blend_tile(const Pass& pass, const Place& place, HalfPixels<kValues>& pixels,
                                           HalfMemory<kValues>& memory) {
  const float x = place.lane % kPartSide - (kPartSide - 1) * 0.5f, y = place.lane / kPartSide - (kPartSide - 1) * 0.5f;
  const Half2 across = halves(x, x), down = halves(y, y + kRowStep);
  Candidates<kListed> candidates(*pass.lists, pass.layer->index, pass.tile, place);
  while (candidates.any() && !__all_sync(kAllLanes, pixels.done())) {
    const int count = put_halves(pass, candidates.take(), place, memory);
    __syncwarp();
    walk(memory, count, across, down, pixels);
    __syncwarp();
  }
}

template <int kValues>
__global__ void __launch_bounds__(kTileThreads)
blend_half_kernel(const __grid_constant__ BlendCall call, const __grid_constant__ Chosen chosen, int first_group) {
  __shared__ HalfMemory<kValues> memory[kWarps];
  const Pass pass{&call.layer[chosen.layer[blockIdx.y]], &call.lists, int(blockIdx.x), first_group};
  const Place place(call.lists, pass.tile);
  HalfPixels<kValues> pixels;
#pragma unroll
  for (int which = 0; which < kLanePixels; ++which)
    pixels.transmittance[which] = place.inside(call.lists, which) ? 1.0f : 0.0f;
  if (call.lists.status[kMostLayers] <= static_cast<unsigned long long>(call.lists.capacity)) {
    blend_tile<true>(pass, place, pixels, memory[place.warp]);
  } else {
    blend_tile<false>(pass, place, pixels, memory[place.warp]);
  }
#pragma unroll
  for (int which = 0; which < kLanePixels; ++which) {
    Pixel<kValues, true> pixel;
#pragma unroll
    for (int k = 0; k < kValues; ++k) pixel.values[k] = pixels.sums[which][k];
    pixel.transmittance = pixels.transmittance[which];
    if (place.inside(call.lists, which)) write_pixel(pass, place.pixel(call.lists, which), pixel);
  }
}

template <int kLess, int kValues>
void launch_values(const BlendCall& call, int first_group, cudaStream_t stream) {
  Chosen chosen{};
  const int count = choose(call, first_group, kLess, kValues, true, chosen);
  if (count == 0) return;
  launch("blending", blend_half_kernel<kValues>, dim3(tiles_of(call.lists), count), kTileThreads, 0, stream, call,
         chosen, first_group);
}

}  // namespace

void blend_half(const BlendCall& call, Stream stream) {
  const int groups = groups_of(call);
  for (int first_group = 0; first_group < groups; first_group += kValuesPerPass / 4) {
    launch_values<0, 4>(call, first_group, stream_of(stream));  // a colour and the depth
    launch_values<4, 7>(call, first_group, stream_of(stream));  // and three features
    launch_values<7, 13>(call, first_group, stream_of(stream));  // nine colours, three features and the depth
    launch_values<13, kValuesPerPass>(call, first_group, stream_of(stream));
  }
}

}  // namespace moegs
