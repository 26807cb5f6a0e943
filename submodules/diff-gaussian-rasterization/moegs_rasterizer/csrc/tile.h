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
  Alive(const Frame& frame, float* transmittance) {
    for (int row = 0; row < kTile; ++row) {
      for (int x = 0; x < kTile; ++x)
        transmittance[row * kTile + x] = row < frame.rows && x < frame.columns ? 1.0f : -1.0f;
    }
    for (int strip = 0; strip < kStrips; ++strip)
      rows_[strip] = strip * kLanes < frame.columns ? (1u << frame.rows) - 1 : 0;
  }

  uint32_t rows(int strip) const { return rows_[strip]; }

  // After a step on the strip; `left` is its transmittance now.
  void update(int strip, int row, Floats left) {
    if (signs(left) == kAllLanes) rows_[strip] &= ~(1u << row);
  }

  bool any() const {
    uint32_t rows = 0;
    for (int strip = 0; strip < kStrips; ++strip) rows |= rows_[strip];
    return rows != 0;
  }

 private:
  uint32_t rows_[kStrips];
};

// A record as one tile sees it.
class Instance {
 public:
  void look(const Record& record, const Frame& frame) {
    record_ = &record;
    x_ = record.x - float(frame.x);
    const float y = record.y - float(frame.y);
    for (int strip = 0; strip < kStrips; ++strip) rows_[strip] = 0;
    for (int part = 0; part < kStrips; ++part) {  // kLanes rows at a time
      dy_[part] = load(kCounting + part * kLanes) - y;
      const Floats middle = x_ + record.slope * dy_[part];
      const Floats reach = record.reach + record.shrink * dy_[part] * dy_[part];
      for (int strip = 0; strip < kStrips; ++strip) {
        const float first = float(strip * kLanes), last = first + (kLanes - 1);
        const Floats outside = larger(larger(first - middle, middle - last), Floats{});
        rows_[strip] |= bits(at_most(outside * outside, reach)) << (part * kLanes);
      }
    }
  }

  // Bits of the rows in which the alpha >= 1/255 ellipse meets the strip.
  uint32_t rows(int strip) const { return rows_[strip]; }
  float dy(int row) const { return reinterpret_cast<const float*>(dy_)[row]; }
  Floats dx(int strip) const { return load(kCounting + strip * kLanes) - x_; }
  const Record& record() const { return *record_; }
  const float* values() const { return reinterpret_cast<const float*>(record_) + kRecordFloats; }

 private:
  const Record* record_;
  float x_;
  uint32_t rows_[kStrips];
  Floats dy_[kStrips];
};

// A tile's list, some instances at a time: what comes before the branches on their rows is done for all of them first,
// so that a mispredicted branch does not wait for it. Records lie scattered; the next ones' memory is asked for early.
class Batch {
 public:
  Batch(const Blend& blend, const Frame& frame, int64_t tile)
      : blend_(blend), frame_(frame), next_(blend.tile_first[tile]), last_(blend.tile_first[tile + 1]) {}

  // Looks at the next instances; false where none are left.
  bool advance() {
    count_ = last_ - next_ < kMost ? last_ - next_ : kMost;
    for (int i = 0; i < count_; ++i) {
      if (next_ + i + kMost < last_) __builtin_prefetch(record(next_ + i + kMost));
      instances_[i].look(*reinterpret_cast<const Record*>(record(next_ + i)), frame_);
    }
    next_ += count_;
    return count_ > 0;
  }

  int remaining() const { return last_ - next_; }  // after this batch
  const Instance* begin() const { return instances_; }
  const Instance* end() const { return instances_ + count_; }

 private:
  static constexpr int kMost = 8;
  const float* record(int32_t place) const { return blend_.records + int64_t(blend_.instances[place]) * blend_.stride; }

  const Blend& blend_;
  const Frame& frame_;
  int32_t next_, last_;
  int count_ = 0;
  Instance instances_[kMost];
};

// Alpha of an instance along the rows of one column of strips, with what does not change from row to row kept.
class Column {
 public:
  Column(const Instance& instance, int strip)
      : dx_(instance.dx(strip)), peak_(splat(instance.record().log2_opacity)),
        base_(peak_ + instance.record().a * dx_ * dx_), slant_(instance.record().b * dx_),
        curve_(splat(instance.record().c)) {}

  Floats dx() const { return dx_; }

  // log2 of alpha before its limit. Nothing below -9 matters: there alpha is far below 1/255.
  Floats exponent(float dy) const { return larger(base_ + dy * (slant_ + curve_ * dy), splat(-9.0f)); }

  // Rounding can lift the exponent above its peak where the covariance is ill-conditioned; 3DGS skips such pixels.
  Mask below_peak(Floats exponent) const { return at_most(exponent, peak_); }

 private:
  Floats dx_, peak_, base_, slant_, curve_;
};

// One blending step on a strip.
struct Step {
  Floats raw;     // alpha before its limit
  Mask taken;     // pixels that take the Gaussian: visible, and the transmittance stays above its least
  Floats weight;  // alpha times transmittance there, else 0
  Floats after;   // transmittance after it, were it taken
  Floats left;    // transmittance to go on with; negative where the pixel stopped, now or before

  Step(const Column& column, float dy, Floats transmittance) {
    const Floats exponent = column.exponent(dy);
    raw = exp2(exponent);
    const Floats alpha = smaller(raw, splat(kLargestAlpha));
    const Mask visible = both(at_most(splat(kLeastAlpha), alpha), column.below_peak(exponent));
    const Floats share = alpha * transmittance;
    after = transmittance - share;
    taken = both(visible, at_most(splat(kLeastTransmittance), after));  // never where the pixel stopped: negative
    weight = where(taken, share);
    left = select(taken, after, negative_where(visible, transmittance));
  }
};

}  // namespace moegs::MOEGS_ISA
