// A tile as blending works on it: strips of kLanes pixels of one row, and a Gaussian's alpha on a strip.
#pragma once

#include "layout.h"
#include "simd.h"

namespace moegs::MOEGS_ISA {

constexpr int kStrips = kTile / kLanes;  // beside each other

alignas(64) constexpr float kCounting[kTile] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

// Where a tile lies and how much of it is image.
struct Frame {
  int x, y, columns, rows;
  Frame(const Blend& blend, int64_t tile) {
    const int across = (blend.width + kTile - 1) / kTile;
    x = int(tile % across) * kTile;
    y = int(tile / across) * kTile;
    columns = blend.width - x < kTile ? blend.width - x : kTile;
    rows = blend.height - y < kTile ? blend.height - y : kTile;
  }
};

// Which pixels still blend. Per pixel the sign of its transmittance tells: negative once it stopped (its size stays),
// and -1 beyond the image's edge from the start. Per strip a bit tells whether any of its pixels is left.
class Alive {
 public:
  Alive(const Frame& frame, float* transmittance) : transmittance_(transmittance) {
    for (int row = 0; row < kTile; ++row) {
      for (int x = 0; x < kTile; ++x)
        transmittance[row * kTile + x] = row < frame.rows && x < frame.columns ? 1.0f : -1.0f;
    }
    for (int strip = 0; strip < kStrips; ++strip) {
      rows_[strip] = 0;
      for (int row = 0; row < kTile; ++row) update(strip, row);
    }
  }

  uint32_t rows(int strip) const { return rows_[strip]; }

  // After pixels of the strip stopped.
  void update(int strip, int row) {
    const Floats left = load(transmittance_ + row * kTile + strip * kLanes);
    const uint32_t bit = 1u << row;
    rows_[strip] = bits(at_most(Floats{}, left)) ? rows_[strip] | bit : rows_[strip] & ~bit;
  }

  bool any() const {
    uint32_t rows = 0;
    for (int strip = 0; strip < kStrips; ++strip) rows |= rows_[strip];
    return rows != 0;
  }

 private:
  float* transmittance_;
  uint32_t rows_[kStrips];
};

// A record as one tile sees it.
class Instance {
 public:
  Instance(const Record& record, const Frame& frame)
      : record_(record), x_(record.x - float(frame.x)), y_(record.y - float(frame.y)) {
    for (int part = 0; part < kStrips; ++part) {  // kLanes rows at a time
      const Floats dy = load(kCounting + part * kLanes) - y_;
      middle_[part] = x_ + record.slope * dy;
      reach_[part] = record.reach + record.shrink * dy * dy;
    }
  }

  // Bits of the rows in which the alpha >= 1/255 ellipse meets the strip.
  uint32_t rows(int strip) const {
    const float first = float(strip * kLanes), last = first + (kLanes - 1);
    uint32_t result = 0;
    for (int part = 0; part < kStrips; ++part) {
      const Floats outside = larger(larger(first - middle_[part], middle_[part] - last), Floats{});
      result |= bits(at_most(outside * outside, reach_[part])) << (part * kLanes);
    }
    return result;
  }

  float dy(int row) const { return float(row) - y_; }
  Floats dx(int strip) const { return load(kCounting + strip * kLanes) - x_; }
  const Record& record() const { return record_; }

 private:
  const Record& record_;
  float x_, y_;
  Floats middle_[kStrips], reach_[kStrips];
};

// Alpha of an instance along the rows of one column of strips, with what does not change from row to row kept.
class Column {
 public:
  Column(const Instance& instance, int strip)
      : record_(instance.record()), dx_(instance.dx(strip)), base_(record_.log2_opacity + record_.a * dx_ * dx_),
        slant_(record_.b * dx_) {}

  Floats dx() const { return dx_; }

  // log2 of alpha before its limit, from below -9 on: there it is far below 1/255 anyway.
  Floats exponent(float dy) const {
    return larger(base_ + dy * (slant_ + record_.c * dy), splat(-9.0f));
  }

  // Rounding can lift the exponent above its peak where the covariance is ill-conditioned; 3DGS skips such pixels.
  Mask below_peak(Floats exponent) const { return at_most(exponent, splat(record_.log2_opacity)); }

 private:
  const Record& record_;
  Floats dx_, base_, slant_;
};

// One blending step on a strip.
struct Step {
  Floats raw;     // alpha before its limit
  Floats weight;  // alpha times transmittance where the pixel takes the Gaussian, else 0
  Floats after;   // transmittance after it, were it taken
  Floats left;    // transmittance to go on with; negated where the pixel stops here
  Mask taken, stopped;

  Step(const Column& column, float dy, Floats transmittance) {
    const Floats exponent = column.exponent(dy);
    raw = exp2(exponent);
    const Floats alpha = smaller(raw, splat(kLargestAlpha));
    const Mask visible = both(both(at_most(splat(kLeastAlpha), alpha), column.below_peak(exponent)),
                              at_most(Floats{}, transmittance));
    const Floats share = alpha * transmittance;
    after = transmittance - share;
    taken = both(visible, at_most(splat(kLeastTransmittance), after));
    stopped = first_only(visible, taken);
    weight = select(taken, share, Floats{});
    left = select(taken, after, select(stopped, -transmittance, transmittance));
  }
};

}  // namespace moegs::MOEGS_ISA
