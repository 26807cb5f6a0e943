// The operator of a whole forward pass: one call from Python, so that the host is ahead of the GPU soon.
#include <cstring>

#include "inputs.h"
#include "workspace.h"

namespace moegs::gpu {
namespace {

struct Projections {
  Tensors results;  // without images yet: kResultTensors a layer, kMeans2d and kRadii made
  Tensors saved;    // kSavedTensors a layer; kLeftImage not made yet
};

// Launches the projection of all layers. `save`: a backward pass reads conics and colours again.
Projections projected(const Input& input, const Kept& kept, const Tensor& like, const View* moving, bool save,
                      uint32_t* short_depths, Stream stream) {
  Projections made;
  ProjectCall call{};
  call.count = input.layers;
  for (int i = 0; i <= input.layers; ++i) call.first[i] = input.first[i];
  for (int i = 0; i < input.layers; ++i) {
    const int64_t n = input.count(i);
    const Tensor means2d = empty_like(like, {n, 2}), radii = empty_like(like, {n}, ScalarType::Int);
    made.results.insert(made.results.end(), {means2d, radii, means2d, means2d, means2d, means2d});
    call.settings[i] = input.views[i];
    call.layer[i] = {input.gaussians[i], input.carried[i], floats_to(means2d), nullptr, nullptr, ints_to(radii)};
    if (!save) continue;
    const bool sh = input.gaussians[i].sh;
    const Tensor conics = empty_like(like, {n, 4}), colours = empty_like(like, {sh ? n : 0, 3});
    call.layer[i].conics = floats_to(conics);
    if (sh) call.layer[i].colours = floats_to(colours);
    made.saved.insert(made.saved.end(), {conics, colours, conics});
  }
  call.camera = input.views[0];
  call.rows = kept.rows;
  call.depths = kept.depths;
  call.shapes = kept.shapes;
  call.values = kept.values;
  call.counts = kept.counts;
  call.short_depths = short_depths;
  call.status = kept.status;
  call.views = moving;
  moegs::project(call, stream);
  return made;
}

// On the CPU; where `moving`, on the device, as they are there at each replay of a graph.
Tensor views_of(const Input& input, const Tensor& like, int64_t moving, Stream stream) {
  const int64_t bytes = int64_t(sizeof(View)) * input.layers;
  if (!moving) {
    const Tensor views = empty({input.layers, kViewDoubles}, ScalarType::Double);
    std::memcpy(views.mutable_data_ptr(), input.views, size_t(bytes));
    return views;
  }
  const Tensor views = empty_like(like, {input.layers, kViewDoubles}, ScalarType::Double);
  std::memcpy(reinterpret_cast<void*>(moving), input.views, size_t(bytes));
  copy_in(views.mutable_data_ptr(), reinterpret_cast<const void*>(moving), bytes, stream);
  return views;
}

// Launches the blending into images that it adds to what was made.
void blend_all(const Input& input, const PassSize& size, const Kept& kept, Projections& made, bool save,
               bool half, Stream stream) {
  BlendCall call{};
  call.lists = lists_of(size, kept, input.first);
  call.count = input.layers;
  call.half = half;
  const Tensor like = made.results[kMeans2d];
  for (int i = 0; i < input.layers; ++i) {
    const Carried& layer = input.carried[i];
    Tensor* images = &made.results[i * kResultTensors];
    images[kColourImage] = empty_like(like, {layer.colour_channels, size.height, size.width});
    images[kFeatureImage] = empty_like(like, {layer.feature_channels, size.height, size.width});
    images[kAlphaImage] = empty_like(like, {size.height, size.width});
    images[kDepthImage] = empty_like(like, {size.height, size.width});
    float* left = nullptr;
    if (save) {
      made.saved[i * kSavedTensors + kLeftImage] = empty_like(like, {size.height, size.width});
      left = floats_to(made.saved[i * kSavedTensors + kLeftImage]);
    }
    call.layer[i] = {layer.first_value,
                     layer.background,
                     floats_to(images[kColourImage]),
                     floats_to(images[kFeatureImage]),
                     floats_to(images[kAlphaImage]),
                     floats_to(images[kDepthImage]),
                     left,
                     layer.colour_channels,
                     layer.channels(),
                     i,
                     input.depth_kinds[i],
                     input.empty_depths[i]};
  }
  moegs::blend(call, stream);
}

}  // namespace

Tensors forward(Tensors given, std::vector<int64_t> kinds, Tensor world_to_camera, std::vector<double> pinhole,
                std::vector<double> settings, int64_t mail, int64_t sequence, int64_t moving, int64_t capacity,
                int64_t width, int64_t height, bool save, bool half, int64_t stream) {
  Input input{};
  if (!read_input(input, given, kinds, world_to_camera, pinhole, settings, width, height)) return {};
  const PassSize size{input.layers, input.rows, input.values, capacity, width, height};
  if (width > kLargestSide || height > kLargestSide) return {};
  if (capacity >= (int64_t(1) << 31) || size.cells() >= (int64_t(1) << 30)) return {};
  const Tensor& like = given[0];
  const DeviceScope scope(like.get_device_index());
  const Tensor memory = bytes_like(like, Kept(nullptr, size).bytes);
  const Kept kept(memory_of(memory), size);
  const Stream on = stream_at(stream);
  const Tensor views = save || moving ? views_of(input, like, moving, on) : Tensor();
  const Tensor sorted_by = empty_like(like, {half ? input.rows : 0}, ScalarType::Int);
  uint32_t* const short_depths = half ? reinterpret_cast<uint32_t*>(ints_to(sorted_by)) : nullptr;
  Projections made = projected(input, kept, like, moving ? read<View>(views) : nullptr, save, short_depths, on);
  BinCall binning = bin_call(size, kept, input.first);
  binning.short_depths = short_depths;
  binning.mail = reinterpret_cast<long long*>(mail);
  binning.sequence = sequence;
  bin_with_scratch(binning, like, on);
  blend_all(input, size, kept, made, save, half, on);
  Tensors results = std::move(made.results);
  if (save) {
    results.insert(results.end(), made.saved.begin(), made.saved.end());
    results.insert(results.end(), {memory, views});
  }
  return results;
}

}  // namespace moegs::gpu
