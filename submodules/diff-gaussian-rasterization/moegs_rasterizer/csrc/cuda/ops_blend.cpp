// Operators of the second stage: tile lists, and blending.
#include "ops_lists.h"

namespace moegs::gpu {

Tensors bin(Tensors carried, Tensors shared, Tensor mail, int64_t sequence, int64_t capacity, int64_t width,
            int64_t height, int64_t stream) {
  PackCall packing{};
  const int64_t total = set_first(packing, carried, kCarriedTensors);
  STD_TORCH_CHECK(packing.count <= kMostLayers, "too many layers for one call");
  STD_TORCH_CHECK(capacity < (int64_t(1) << 31), "too many instances for one call");
  const int64_t values = set_carried(packing, carried);
  const Tensor& like = carried[0];
  const int across = tiles_along(width), tiles = across * tiles_along(height);
  const int64_t cells = int64_t(packing.count) * tiles;
  STD_TORCH_CHECK(cells < (int64_t(1) << 30), "too many layers and tiles for one call");
  Tensors lists{empty_like(like, {total, 8}), empty_like(like, {values, 4}),
                empty_like(like, {capacity}, ScalarType::Int), empty_like(like, {cells, 2}, ScalarType::Int),
                empty_like(like, {total}, ScalarType::Int), empty_like(like, {total}, ScalarType::Int)};
  Tensor ends = empty_like(like, {total}, ScalarType::Long);
  packing.depths = floats(shared[kDepths]);
  packing.tiles = ints(shared[kTiles]);
  packing.shapes = floats_to(lists[kShapes]);
  packing.values = floats_to(lists[kValues]);
  packing.counts = ints_to(lists[kCounts]);
  packing.status = status_of(shared);

  BinCall binning{};
  set_first(binning, carried, kCarriedTensors);
  binning.capacity = capacity;
  binning.across = across;
  binning.tiles = tiles;
  binning.depths = packing.depths;
  binning.rows = ints(shared[kRows]);
  binning.boxes = packing.tiles;
  binning.counts = packing.counts;
  binning.shapes = packing.shapes;
  binning.order = ints_to(lists[kOrder]);
  binning.ends = static_cast<int64_t*>(ends.mutable_data_ptr());
  binning.instances = ints_to(lists[kInstances]);
  binning.ranges = ints_to(lists[kRanges]);
  binning.status = packing.status;
  binning.mail = static_cast<long long*>(mail.mutable_data_ptr());
  binning.sequence = sequence;
  const DeviceScope scope(like.get_device_index());
  const BinScratch needed = bin_scratch(total, capacity, packing.count, tiles);
  Tensor scratch = empty_like(like, {int64_t(needed.bytes)}, ScalarType::Byte);
  binning.sorting = needed.sorting;
  binning.scratch = static_cast<char*>(scratch.mutable_data_ptr());
  moegs::pack(packing, stream_at(stream));
  moegs::bin(binning, stream_at(stream));
  return lists;
}

Tensors blend(Tensors carried, Tensors shared, Tensors lists, Tensor options, int64_t width, int64_t height, bool save,
              int64_t stream) {
  BlendCall call{};
  PackCall packed{};
  set_first(packed, carried, kCarriedTensors);
  set_carried(packed, carried);
  call.lists = lists_of(packed, shared, lists, width, height);
  call.count = packed.count;
  const Tensor& like = carried[0];
  Tensors images;
  for (int i = 0; i < call.count; ++i) {
    const Carried& layer = packed.layer[i];
    images.push_back(empty_like(like, {layer.colour_channels, height, width}));
    images.push_back(empty_like(like, {layer.feature_channels, height, width}));
    images.push_back(empty_like(like, {height, width}));
    images.push_back(empty_like(like, {height, width}));
    images.push_back(empty_like(like, {save ? height : 0, width}));
    const Tensor* made = &images[i * kImageTensors];
    const double* option = read<double>(options) + 2 * i;
    call.layer[i] = {layer.first_value,
                     layer.background,
                     floats_to(made[kColourImage]),
                     floats_to(made[kFeatureImage]),
                     floats_to(made[kAlphaImage]),
                     floats_to(made[kDepthImage]),
                     save ? floats_to(made[kLeftImage]) : nullptr,
                     layer.colour_channels,
                     layer.channels(),
                     i,
                     DepthKind(int(option[0])),
                     float(option[1])};
  }
  const DeviceScope scope(like.get_device_index());
  moegs::blend(call, stream_at(stream));
  return images;
}

}  // namespace moegs::gpu
