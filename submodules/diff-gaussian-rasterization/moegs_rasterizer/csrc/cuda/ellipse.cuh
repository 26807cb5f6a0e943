// Tiles that the ellipse alpha >= 1/255 of a 2D Gaussian meets, row of tiles by row of tiles: ../ellipse.h in float.
//
// Two kernels walk along the same ellipse, one to count and one to write, and must find the same tiles to the bit. So
// arithmetic is spelt in intrinsics, which the compiler never fuses. The margins cover what the quick ones round.
#pragma once

#include "instructions.cuh"

namespace moegs {

// What blending reads of a Gaussian: Record in ../layout.h, without what the CPU alone needs.
// alpha = 2^(a dx^2 + b dx dy + c dy^2 + log2_opacity).
struct Shape {
  float x, y, log2_opacity, a, b, c;
};

__device__ __forceinline__ Shape load_shape(const float* shapes, int64_t row) {
  const float4 one = load4(shapes + kShapeFloats * row);
  const float2 two = load2(shapes + kShapeFloats * row + 4);
  return {one.x, one.y, one.z, one.w, two.x, two.y};
}

// The box of tiles lies beside the shape, so that who lists a Gaussian reads one sector of memory: 16 bits a number, as
// images have at most kLargestSide pixels a side.
__device__ __forceinline__ float2 packed_box(int4 box) {
  return make_float2(__uint_as_float(unsigned(box.x) | unsigned(box.y) << 16),
                     __uint_as_float(unsigned(box.z) | unsigned(box.w) << 16));
}
__device__ __forceinline__ int4 load_box(const float* shapes, int64_t row) {
  const float2 packed = load2(shapes + kShapeFloats * row + 6);
  const unsigned first = __float_as_uint(packed.x), last = __float_as_uint(packed.y);
  return {int(first & 0xffff), int(first >> 16), int(last & 0xffff), int(last >> 16)};
}

// log2(255).
constexpr float kLevel = 7.994353437f;
// Added to the level, and pixels added at both ends of a row: rounding must not lose a pixel; each pixel tests again.
constexpr float kLevelMargin = 0.01f, kPixelMargin = 0.01f;

class Ellipse {
 public:
  __device__ __forceinline__ explicit Ellipse(const Shape& shape) : x_(shape.x), y_(shape.y) {
    const float a = -shape.a, b = shape.b, c = -shape.c;
    // 4 a c - b^2, without the cancellation: what the first product rounded away is added.
    const float product = __fmul_rn(4.0f * a, c);
    const float lost = __fmaf_rn(4.0f * a, c, -product);
    const float discriminant = __fadd_rn(__fmaf_rn(-b, b, product), lost);
    // Too thin to be an ellipse in float: all of the box is looked at.
    whole_ = !kExactTiles || !(a > 0 && discriminant > 0);
    const float over = __fdividef(1.0f, __fmul_rn(2.0f, a));
    slope_ = __fmul_rn(b, over);
    shrink_ = -__fmul_rn(__fmul_rn(discriminant, over), over);
    reach_ = __fdividef(__fadd_rn(shape.log2_opacity, kLevel + kLevelMargin), a);
    tallest_ = root(__fdividef(reach_, -shrink_));
    // The right edge slope dy + sqrt(reach + shrink dy^2) is level where slope^2 (reach + shrink dy^2) = shrink^2 dy^2.
    const float square = __fmul_rn(slope_, slope_);
    const float level = __fdividef(__fmul_rn(square, reach_), __fmul_rn(shrink_, __fsub_rn(shrink_, square)));
    side_ = copysignf(root(level), slope_);
  }

  // Columns of tiles [x, y) met in a row of tiles, within the listed columns.
  __device__ __forceinline__ int2 columns(int tile_row, int first, int last) const {
    if (whole_) return make_int2(first, last);
    const float low = fmaxf(__fsub_rn(float(tile_row * kTile), y_), -tallest_);
    const float high = fminf(__fsub_rn(float(tile_row * kTile + kTile - 1), y_), tallest_);
    if (!(low <= high)) return make_int2(0, 0);
    // The edges are convex curves: within a stretch of rows the extreme is at its level point, or at the end beside it.
    const float right = edge(fminf(fmaxf(side_, low), high), 1.0f);
    const float left = edge(fminf(fmaxf(-side_, low), high), -1.0f);
    const float begin = float(first * kTile), end = float(last * kTile);
    const int first_pixel = int(ceilf(fminf(fmaxf(left, begin), end)));
    const int last_pixel = int(floorf(fminf(fmaxf(__fadd_rn(right, 1.0f), begin), end)));  // exclusive
    return make_int2(first_pixel / kTile, (last_pixel + kTile - 1) / kTile);
  }

 private:
  __device__ __forceinline__ float edge(float dy, float sign) const {
    const float half = root(fmaxf(0.0f, __fmaf_rn(__fmul_rn(shrink_, dy), dy, reach_)));
    const float middle = __fmaf_rn(slope_, dy, x_);
    return __fmaf_rn(sign, __fadd_rn(half, kPixelMargin), middle);
  }

  float x_, y_, slope_, shrink_, reach_, tallest_, side_;
  bool whole_;
};

}  // namespace moegs
