// What a warp's pixels say of a Gaussian, and its sums over them.
//
// A lane is two pixels while it blends, but sums over pixels are products of matrices: of what 16 Gaussians' slots
// say, [16, 64 pixels], with what is fixed at each pixel, [64, 8]: powers of its coordinates for the moments, gradients
// of its channels for the channels. Tensor cores make them, from shared memory. They multiply 11 bits of each number:
// what was left out of the first product is added by further ones, so that about 22 bits count, nearly as in float.
#pragma once

#include "tile.cuh"

namespace moegs {

constexpr int kSlots = 16;                    // rows of a tensor core's product
constexpr int kColumns = 8;                   // of a product
constexpr int kDepth = 8;                     // pixels that one product takes in: a row of the part
constexpr int kSlotStride = kPartPixels + 4;  // so that rows of slots meet different banks

static_assert(kDepth == kPartSide, "a product takes in a row of pixels");

__device__ __forceinline__ int product_row(int lane, int which) { return lane / 4 + which * (kSlots / 2); }
__device__ __forceinline__ int product_column(int lane) { return lane % 4 * 2; }

// The 11 leading bits, and the rest.
struct Halves {
  uint32_t high, low;
  __device__ __forceinline__ explicit Halves(float value) {
    high = __float_as_uint(value) & 0xffffe000u;
    low = __float_as_uint(value - __uint_as_float(high));
  }
};

// The slots' values at one row of pixels, as a tensor core takes them.
struct Rows {
  uint32_t high[4], low[4];

  __device__ __forceinline__ Rows(const float* slots, int lane, int pixel_row) {
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const int slot = lane / 4 + k % 2 * (kSlots / 2), pixel = pixel_row * kDepth + lane % 4 + k / 2 * 4;
      const Halves value(slots[slot * kSlotStride + pixel]);
      high[k] = value.high;
      low[k] = value.low;
    }
  }
};

// Sums over pixels of the slots' v times 1, x, y, x^2, xy, y^2, coordinates counted within the part: column by column.
__device__ __forceinline__ Product moments_of(const float* slots, int lane) {
  const int column = lane / 4;
  const float by_x[2] = {float(lane % 4), float(lane % 4 + 4)};
  float along_x[2];
  for (int k = 0; k < 2; ++k)
    along_x[k] = column == 1 || column == 4 ? by_x[k] : column == 3 ? by_x[k] * by_x[k] : column < 6 ? 1.0f : 0.0f;
  const float linear = column == 2 || column == 4 ? 1.0f : 0.0f, square = column == 5 ? 1.0f : 0.0f;
  const float constant = 1 - linear - square;
  Product product;
#pragma unroll
  for (int y = 0; y < kPartSide; ++y) {
    const Rows rows(slots, lane, y);
    const float along_y = fmaf(square, float(y * y), fmaf(linear, float(y), constant));
    // Whole numbers up to 49: all of their bits are leading ones.
    const uint32_t b0 = __float_as_uint(along_x[0] * along_y), b1 = __float_as_uint(along_x[1] * along_y);
    multiply(product, rows.high, b0, b1);
    multiply(product, rows.low, b0, b1);
  }
  return product;
}

// Sums over pixels of the slots' w times eight of the pixels' gradients, given[pixel * stride + channel].
__device__ __forceinline__ Product channels_of(const float* slots, const float* given, int stride, int lane) {
  Product product;
#pragma unroll
  for (int y = 0; y < kPartSide; ++y) {
    const Rows rows(slots, lane, y);
    const float* at = given + (y * kDepth + lane % 4) * stride + lane / 4;
    const Halves b0(at[0]), b1(at[4 * stride]);
    multiply(product, rows.high, b0.high, b1.high);
    multiply(product, rows.high, b0.low, b1.low);
    multiply(product, rows.low, b0.high, b1.high);
  }
  return product;
}

// From moments about the part's first pixel to moments about a Gaussian's mean, (dx, dy) from the mean to that pixel.
// The four lanes that share a row hold (1, x), (y, x^2), (xy, y^2) and nothing.
__device__ __forceinline__ float2 about_mean(float2 mine, int lane, float2 offset) {
  const int first = lane / 4 * 4;
  const float zero = __shfl_sync(kAllLanes, mine.x, first), x = __shfl_sync(kAllLanes, mine.y, first);
  const float y = __shfl_sync(kAllLanes, mine.x, first + 1);
  const float dx = offset.x, dy = offset.y;
  const float about_x = fmaf(dx, zero, x), about_y = fmaf(dy, zero, y);
  switch (lane % 4) {
    case 0:
      return make_float2(zero, about_x);
    case 1:
      return make_float2(about_y, fmaf(dx, about_x + x, mine.y));
    case 2:
      return make_float2(mine.x + fmaf(dy, about_x, dx * y), fmaf(dy, about_y + y, mine.y));
    default:
      return make_float2(0, 0);
  }
}

}  // namespace moegs
