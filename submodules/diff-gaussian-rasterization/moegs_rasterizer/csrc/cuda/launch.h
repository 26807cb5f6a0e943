// What one call passes to the kernels' launchers: plain pointers to device memory, and numbers. No PyTorch here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../layout.h"
#include "../portable.h"

namespace moegs {

// The tables of a call travel as kernel arguments, which hold 4 KB; cuda/backend.py splits calls of more
// layers.
constexpr int kMostLayers = 12;
constexpr int kValuesPerPass = 16;  // carried by one pass over a tile's list; more channels take more passes

constexpr int kDepthBits = 31;       // a float above 0, read as an integer
constexpr int kShortDepthBits = 24;  // in half precision: three passes of the sort, not four

constexpr int kShapeFloats = 8;     // of a row: x, y, log2 of the opacity, a; b, c; the box of tiles in 16 bits each
constexpr int64_t kLargestSide = 65535;  // validation.py: LARGEST_SIDE

using Stream = void*;  // cudaStream_t

void fill_zero(void* memory, int64_t bytes, Stream stream);

// From pinned memory to the device; in a CUDA graph, what is there at each replay.
void copy_in(void* to, const void* from, int64_t bytes, Stream stream);

// Makes a device the current one for as long as it lives.
class DeviceScope {
 public:
  explicit DeviceScope(int device);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int before_;
};

// First bad input of each layer, as (row << 4) | Fault; kNoFault where there is none. Word kMostLayers counts the
// call's instances.
constexpr unsigned long long kNoFault = ~0ull;
constexpr int kStatusWords = kMostLayers + 1;
// What was wrong, in the order of NOT_FINITE and OUT_OF_RANGE in cuda/words.py, which say it in words.
enum Fault : int {
  kBadMeans, kBadScales, kBadQuats, kBadOpacities, kBadSh, kBadColours, kBadFeatures, kBadBackground,
  kNegativeScale, kOpacityRange,
};

// Pinned host words in which a call's last counting kernel leaves its status: sequence, instances, faults.
constexpr int kMailWords = 1 + kStatusWords;

// What a layer carries to the image.
struct Carried {
  const float *colours, *features, *background;  // colours are null where they are made from harmonics
  int colour_channels, feature_channels;
  int64_t first_value;  // in float4s, of the layer's values in ProjectCall::values

  MOEGS_BOTH int channels() const { return colour_channels + feature_channels; }
  // float4s a Gaussian: colours, features, depth.
  MOEGS_BOTH int groups() const { return channels() / 4 + 1; }
};

struct ProjectLayer {
  Gaussians in;
  Carried carried;
  float *means2d, *conics, *colours;  // for the caller, as in Projected; null but means2d where nobody wants them
  int32_t* radii;
};

struct ProjectCall {
  ViewCamera camera;                   // of all layers
  ViewSettings settings[kMostLayers];  // of each layer
  ProjectLayer layer[kMostLayers];
  int first[kMostLayers + 1];  // rows of the call at which layers begin
  int count;                   // layers
  int32_t* rows;               // [first[count]] 0, 1, 2, ...: what the depth sort carries along
  float* depths;               // [first[count]] camera z; NaN where culled
  float* shapes;               // [first[count], kShapeFloats]: ellipse.cuh
  float* values;               // Carried::first_value
  int32_t* counts;             // [first[count]] tiles that each reaches
  uint32_t* short_depths;      // [first[count]] depths in kShortDepthBits to sort by; null to sort by all their bits
  unsigned long long* status;
  const View* views;           // on the device, one a layer, where they may change from replay to replay; else null
};
void project(const ProjectCall& call, Stream stream);

// Where the backward pass reports gradients that are not finite.
struct GradientFaults {
  long long* words;  // on the host, mapped: for each of kBadMeans to kBadBackground 1 + the layer, 0 where all is well
  int layer;
  unsigned looked_at;  // bits of these kinds
};

struct ProjectBackwardLayer {
  View view;
  const View* moving;  // on the device, where it may change from replay to replay; else null
  Gaussians in;
  const int32_t* radii;
  ProjectedGradients given;
  GaussianGradients out;
  GradientFaults faults;
};
// Layer by layer: its table is too wide for all of them.
void project_backward(const ProjectBackwardLayer& layer, int64_t count, Stream stream);

// From packed Gaussians to each tile's list, nearest first.
struct BinCall {
  int first[kMostLayers + 1];
  int count;
  int64_t capacity;      // of the lists; where the instances are more, none is listed
  int across, tiles;     // tiles in a row of the image, and in all
  const float* depths;
  const uint32_t* short_depths;  // null to sort by `depths`
  const int32_t *rows, *counts;
  const float* shapes;
  int32_t* order;        // [n] rows by depth
  int64_t* ends;         // [n] instances up to and with each of `order`
  int32_t* instances;    // [capacity] rows, tile by tile
  int32_t* ranges;       // [count * tiles, 2] first and last (exclusive) of each tile's instances
  unsigned long long* status;
  long long* mail;       // [kMailWords] on the host, mapped; null where nobody waits for a report
  long long sequence;
  char* scratch;         // [BinScratch::bytes]
  size_t sorting;        // BinScratch::sorting
};
struct BinScratch {
  size_t bytes, sorting;  // in all, and of that for the library's sorts
};
BinScratch bin_scratch(int64_t n, int64_t capacity, int layers, int tiles);
void bin(const BinCall& call, Stream stream);

struct BlendLayer {
  int64_t first_value;
  const float* background;
  float *colour, *features, *alpha, *depth, *left;  // planes; left is null where nobody wants it
  int colour_channels, channels;
  int index;                                        // in the call's tables
  DepthKind depth_kind;
  float empty_depth;
};

// Tile lists as the blending kernels read them.
struct Lists {
  const float *shapes, *values;
  const int32_t *instances, *ranges;
  const int32_t *order, *counts;  // for calls whose instances are more than the capacity
  int64_t capacity;
  int first[kMostLayers + 1];
  int rows;
  int width, height;
  const unsigned long long* status;
};

struct BlendCall {
  Lists lists;
  BlendLayer layer[kMostLayers];
  int count;
  bool half;  // in half precision, but for layers whose depth is no plain sum
};
void blend(const BlendCall& call, Stream stream);
void blend_half(const BlendCall& call, Stream stream);  // the layers whose depth is a plain sum

struct BlendBackwardLayer {
  int64_t first_value;
  const float *colour, *features, *left;                             // as blending left them
  const float *colour_gradient, *feature_gradient, *alpha_gradient;  // null where there is none
  int colour_channels, channels;
  int index;
};

// Sums of a Gaussian, or of an instance where `ordered`: for each pass over at most kValuesPerPass channels, kMoments
// (not where `linear`) and the channels' own, rounded up to whole float4s. Rows of all layers are as wide as the
// widest; zeros before.
struct BlendBackwardCall {
  Lists lists;
  BlendBackwardLayer layer[kMostLayers];
  int count;
  bool linear;   // gradients of the features alone, in which the images are linear
  bool ordered;  // one row of sums for each instance, to be added up in a fixed order
  bool unread;   // the host does not know whether the lists had room, so kernels look; not where `ordered`
  float* sums;
  int sum_stride;  // floats of a row
};
void blend_backward(const BlendBackwardCall& call, Stream stream);

// Floats of a pass's sums, and of all passes'.
MOEGS_BOTH constexpr int pass_floats(int channels, bool linear) {
  return ((linear ? 0 : kMoments) + channels + 3) / 4 * 4;
}
MOEGS_BOTH constexpr int sum_floats(int channels, bool linear) {
  if (channels <= kValuesPerPass) return pass_floats(channels, linear);  // also of a layer that carries nothing
  return pass_floats(kValuesPerPass, linear) + sum_floats(channels - kValuesPerPass, linear);
}

// Adds up the rows of instances to rows of Gaussians, always in the same order.
struct OrderedCall {
  int64_t instances;
  int64_t rows;
  int stride;              // floats of a row
  const int32_t* listed;   // [instances] rows
  const float* by_instance;
  float* sums;             // [rows, stride], zeros before
  char* scratch;           // [ordered_scratch_bytes]
};
size_t ordered_scratch_bytes(int64_t instances, int64_t rows);
void add_in_order(const OrderedCall& call, Stream stream);

struct GatherLayer {
  const float* conics;
  float *means2d, *conic_gradients, *colours, *features;
  int colour_channels, feature_channels;
  bool asked;
  GradientFaults faults;
};
struct GatherCall {
  GatherLayer layer[kMostLayers];
  int first[kMostLayers + 1];
  int count;
  bool linear;
  const float* sums;
  int sum_stride;
  const unsigned long long* status;  // faults of the input are told already, and those of gradients follow from them
};
void gather(const GatherCall& call, Stream stream);

// Looks at the gradient of a background, which PyTorch adds up.
void look_at(const float* gradient, int64_t count, const GradientFaults& faults, Stream stream);

}  // namespace moegs
