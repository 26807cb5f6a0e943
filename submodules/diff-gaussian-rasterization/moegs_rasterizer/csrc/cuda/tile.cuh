// A tile as blending works on it: four warps, each of which owns 8x8 of the tile's 16x16 pixels, two a lane.
//
// Each warp walks along the tile's list by itself, 32 Gaussians at a time: first a lane for each Gaussian, which loads
// it and tests it against the warp's pixels, then a lane for two pixels, along the hits alone (warp culling, as in
// Faster-GS). No warp waits for another; what one loads, the others find in the cache. Two pixels a lane, because what
// all lanes read of a hit would else take longer to come out of shared memory than to work with.
#pragma once

#include "ellipse.cuh"

namespace moegs {

constexpr int kPartSide = 8;                              // pixels of a warp, along both axes
constexpr int kPartPixels = kPartSide * kPartSide;
constexpr int kLanePixels = kPartPixels / kWarp;          // a lane's pixels lie kRowStep below each other
constexpr int kRowStep = kPartSide / kLanePixels;
constexpr int kWarps = kTilePixels / kPartPixels;
constexpr int kTileThreads = kWarps * kWarp;

// Where a lane's pixels, and its warp's part of the tile, lie in the image.
struct Place {
  int lane, warp;
  int part_x, part_y;  // first pixel of the warp's
  int x, y;            // the lane's first

  __device__ __forceinline__ Place(const Lists& lists, int tile) {
    const int across = (lists.width + kTile - 1) / kTile;
    lane = threadIdx.x % kWarp;
    warp = threadIdx.x / kWarp;
    part_x = tile % across * kTile + warp % (kTile / kPartSide) * kPartSide;
    part_y = tile / across * kTile + warp / (kTile / kPartSide) * kPartSide;
    x = part_x + lane % kPartSide;
    y = part_y + lane / kPartSide;
  }
  __device__ __forceinline__ int row(int which) const { return y + which * kRowStep; }
  __device__ __forceinline__ bool inside(const Lists& lists, int which) const {
    return x < lists.width && row(which) < lists.height;
  }
  __device__ __forceinline__ int64_t pixel(const Lists& lists, int which) const {
    return int64_t(row(which)) * lists.width + x;
  }
};

// Whether the exponent reaches -log2(255), or nearly so, anywhere in the warp's part.
__device__ __forceinline__ bool meets(const Shape& shape, int part_x, int part_y) {
  const float x0 = part_x - shape.x, x1 = x0 + (kPartSide - 1), y0 = part_y - shape.y, y1 = y0 + (kPartSide - 1);
  const float a = shape.a, b = shape.b, c = shape.c;
  // The nearest point of the square along each axis; where it is not the mean's own, the best point of that edge.
  const float nearest_x = fminf(fmaxf(0.0f, x0), x1), nearest_y = fminf(fmaxf(0.0f, y0), y1);
  if (nearest_x == 0 && nearest_y == 0) return true;
  const float least = -(kLevel + kLevelMargin) - shape.log2_opacity;
  const float along_y = fminf(fmaxf(__fdividef(-0.5f * b * nearest_x, c), y0), y1);
  const float along_x = fminf(fmaxf(__fdividef(-0.5f * b * nearest_y, a), x0), x1);
  const float on_x = nearest_x * (a * nearest_x + b * along_y) + c * along_y * along_y;
  const float on_y = nearest_y * (c * nearest_y + b * along_x) + a * along_x * along_x;
  // Where one coordinate of the mean lies within the square, only the other's edge counts.
  const bool pass_x = nearest_x != 0 && on_x >= least, pass_y = nearest_y != 0 && on_y >= least;
  return pass_x || pass_y;
}

// A Gaussian's exponent along a column of pixels: what does not change from row to row. Spelt in intrinsics, as all
// that decides what is blended: forward and backward must agree to the bit.
struct Column {
  float base, slant, y, c, peak;

  __device__ __forceinline__ Column(const Shape& shape, float x) : y(shape.y), c(shape.c), peak(shape.log2_opacity) {
    const float dx = __fsub_rn(x, shape.x);
    base = __fmaf_rn(__fmul_rn(shape.a, dx), dx, peak);
    slant = __fmul_rn(shape.b, dx);
  }
  __device__ __forceinline__ float exponent(float row) const {
    const float dy = __fsub_rn(row, y);
    return __fmaf_rn(__fmaf_rn(c, dy, slant), dy, base);
  }
};

// One Gaussian at one pixel, whose transmittance is negative once it has stopped (its size stays).
struct Step {
  float raw;     // alpha before its limit
  float weight;  // alpha times transmittance where the pixel takes it, else 0
  float after;   // transmittance after it, were it taken
  bool taken;    // alpha reaches 1/255, and the transmittance stays above its least; never where the pixel has stopped
  float left;    // transmittance to go on with

  __device__ __forceinline__ Step(const Column& column, float row, float transmittance) {
    const float exponent = column.exponent(row);
    // Rounding can lift the exponent above its peak where the covariance is ill-conditioned; 3DGS skips such pixels.
    const bool visible = exponent >= -kLevel && exponent <= column.peak;
    raw = exp2_quick(exponent);
    const float share = __fmul_rn(fminf(raw, kLargestAlpha), transmittance);
    after = __fsub_rn(transmittance, share);
    taken = visible && after >= kLeastTransmittance;
    weight = taken ? share : 0.0f;
    left = taken ? after : visible ? -fabsf(transmittance) : transmittance;
  }
};

// A Gaussian that a lane looks at; its row of the call is negative where there is none.
struct Candidate {
  int32_t row = -1;
  Shape shape;
};

// A tile's candidates: its list, or, where the lists' memory was too small, every Gaussian of the call in the order of
// depth. That is slow and right; the next call's memory is larger.
template <bool kListed>
class Candidates {
 public:
  __device__ __forceinline__ Candidates(const Lists& lists, int layer, int tile, const Place& place)
      : lists_(lists), layer_(layer), tile_(tile), next_(place.lane), last_(lists.rows) {
    if (kListed) {
      const int across = (lists.width + kTile - 1) / kTile, down = (lists.height + kTile - 1) / kTile;
      const int2 range = reinterpret_cast<const int2*>(lists.ranges)[int64_t(layer) * across * down + tile];
      next_ = range.x + place.lane;
      last_ = range.y;
    }
    start_ = next_ - place.lane;
    row_ = row_at(next_);
  }

  // Whether any lane has one left.
  __device__ __forceinline__ bool any() const { return start_ < last_; }
  __device__ __forceinline__ int start() const { return start_; }  // place of the first lane's next
  __device__ __forceinline__ int last() const { return last_; }

  // The lane's next. Its row has been asked for one round earlier.
  __device__ __forceinline__ Candidate take() {
    Candidate found;
    found.row = row_;
    if (row_ >= 0) found.shape = load_shape(lists_.shapes, row_);
    start_ += kWarp;
    next_ += kWarp;
    row_ = row_at(next_);
    return found;
  }

 private:
  __device__ __forceinline__ int32_t row_at(int place) const {
    if (place >= last_) return -1;
    if (kListed) return lists_.instances[place];
    const int32_t row = lists_.order[place];
    if (row < lists_.first[layer_] || row >= lists_.first[layer_ + 1] || lists_.counts[row] == 0) return -1;
    const int4 box = load_box(lists_.shapes, row);
    const int across = (lists_.width + kTile - 1) / kTile, column = tile_ % across, down = tile_ / across;
    return column >= box.x && column < box.z && down >= box.y && down < box.w ? row : -1;
  }

  const Lists& lists_;
  const int layer_, tile_;
  int start_, next_, last_;
  int32_t row_;
};

// The hits among a round's candidates, as a warp walks along them.
struct Hits {
  float4 one[kWarp];  // x, y, log2 of the opacity, a
  float2 two[kWarp];  // b, c

  __device__ __forceinline__ Shape shape(int at) const {
    return {one[at].x, one[at].y, one[at].z, one[at].w, two[at].x, two[at].y};
  }
};

// Puts those that may reach the warp's pixels into the hits, in their order; returns each lane's place there, or -1,
// and through `count` how many there are.
__device__ __forceinline__ int put_hits(const Candidate& mine, const Place& place, Hits& hits, int& count) {
  const bool hit = mine.row >= 0 && (!kWarpCulling || meets(mine.shape, place.part_x, place.part_y));
  const unsigned votes = __ballot_sync(kAllLanes, hit);
  count = __popc(votes);
  if (!hit) return -1;
  const int at = __popc(votes & ((1u << place.lane) - 1));
  hits.one[at] = make_float4(mine.shape.x, mine.shape.y, mine.shape.log2_opacity, mine.shape.a);
  hits.two[at] = make_float2(mine.shape.b, mine.shape.c);
  return at;
}

}  // namespace moegs
