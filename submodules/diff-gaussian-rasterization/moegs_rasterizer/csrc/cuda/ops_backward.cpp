// The operators of the backward pass: from images to 2D Gaussians, and on to 3D ones. Two, because the gradient in
// between is the caller's too (Splat.means2d).
#include <algorithm>

#include "inputs.h"
#include "workspace.h"

namespace moegs::gpu {
namespace {

float* zeroed(const Tensor& memory, Stream stream) {
  fill_zero(memory.mutable_data_ptr(), memory.numel() * int64_t(sizeof(float)), stream);
  return floats_to(memory);
}

// Sums [rows, stride] of all rows, by atomic additions or, where `ordered`, over their instances in a fixed order.
Tensor sums_of(BlendBackwardCall& call, const Tensor& like, int64_t instances, Stream stream) {
  const int64_t rows = call.lists.rows;
  Tensor sums = empty_like(like, {rows, call.sum_stride});
  float* const of_rows = zeroed(sums, stream);
  if (!call.ordered) {
    call.sums = of_rows;
    moegs::blend_backward(call, stream);
    return sums;
  }
  const Tensor by_instance = empty_like(like, {instances, call.sum_stride});
  call.sums = zeroed(by_instance, stream);
  moegs::blend_backward(call, stream);
  const Tensor scratch = bytes_like(like, int64_t(ordered_scratch_bytes(instances, rows)));
  add_in_order(
      {instances, rows, call.sum_stride, call.lists.instances, floats(by_instance), of_rows, memory_of(scratch)},
      stream);
  return sums;
}

// A layer's gradients, empty ones in place of those that nobody asked for.
Tensors gradients_of(const Carried& layer, const Tensor& like, int64_t rows, bool linear) {
  return {empty_like(like, {linear ? 0 : rows, 2}), empty_like(like, {linear ? 0 : rows, 4}),
          empty_like(like, {linear ? 0 : rows, layer.colour_channels}),
          empty_like(like, {rows, layer.feature_channels})};
}

// The sizes of the forward pass, read off what it made; fills the layers of the gathering step.
PassSize size_of(const Tensors& blended, int64_t capacity, GatherCall& gathering, Carried* layers) {
  PassSize size{int(blended.size()) / kBlendedTensors, 0, 0, capacity, blended[kBlendedLeft].size(1),
                blended[kBlendedLeft].size(0)};
  gathering.count = size.layers;
  for (int i = 0; i < size.layers; ++i) {
    const Tensor* of = &blended[i * kBlendedTensors];
    Carried& layer = layers[i];
    layer.colour_channels = int(of[kBlendedColour].size(0));
    layer.feature_channels = int(of[kBlendedFeatures].size(0));
    layer.first_value = size.values;
    const int64_t rows = of[kBlendedConics].size(0);
    size.values += rows * layer.groups();
    size.rows += rows;
    gathering.first[i + 1] = int(size.rows);
  }
  return size;
}

// The tables' layers that are asked for. Gives the gradients of all, to be filled.
Tensors set_layers(const Tensors& blended, const Tensors& gradients, const std::vector<int64_t>& asked,
                   const Carried* layers, BlendBackwardCall& call, GatherCall& gathering) {
  Tensors results;
  for (int i = 0; i < gathering.count; ++i) {
    const bool wanted = std::find(asked.begin(), asked.end(), i) != asked.end();
    const Tensor *of = &blended[i * kBlendedTensors], *gradient = &gradients[i * kImageGradients];
    const Carried& layer = layers[i];
    const Tensors made = gradients_of(layer, blended[0], wanted ? of[kBlendedConics].size(0) : 0, call.linear);
    results.insert(results.end(), made.begin(), made.end());
    if (!wanted) continue;
    call.layer[call.count++] = {layer.first_value,
                                floats(of[kBlendedColour]),
                                floats(of[kBlendedFeatures]),
                                floats(of[kBlendedLeft]),
                                floats_or_null(gradient[kColourGradient]),
                                floats_or_null(gradient[kFeatureGradient]),
                                floats_or_null(gradient[kAlphaGradient]),
                                layer.colour_channels,
                                layer.channels(),
                                i};
    const int channels = call.linear ? layer.feature_channels : layer.channels();
    call.sum_stride = std::max(call.sum_stride, sum_floats(channels, call.linear));
    gathering.layer[i] = {floats(of[kBlendedConics]),
                          floats_to(made[kGradMeans2d]),
                          floats_to(made[kGradConics]),
                          floats_to(made[kGradColours]),
                          floats_to(made[kGradFeatures]),
                          layer.colour_channels,
                          layer.feature_channels,
                          true,
                          gathering.layer[i].faults};
  }
  return results;
}

}  // namespace

Tensors blend_backward(Tensors blended, Tensor kept, Tensors gradients, std::vector<int64_t> asked, int64_t capacity,
                       int64_t instances, bool linear, bool ordered, int64_t faults, int64_t first_layer,
                       std::vector<int64_t> looked_at, int64_t stream) {
  BlendBackwardCall call{};
  GatherCall gathering{};
  Carried layers[kMostLayers]{};
  PassSize size = size_of(blended, capacity, gathering, layers);
  Kept parts(memory_of(kept), size);
  call.linear = gathering.linear = linear;
  call.ordered = ordered;
  call.unread = instances == kUnread;
  require(!(call.unread && ordered), "sums in order need the number of instances");
  const Stream on = stream_at(stream);
  const Tensor& like = blended[0];
  const DeviceScope scope(like.get_device_index());
  Tensor roomy;
  if (instances > capacity) {  // the lists are empty
    roomy = empty_like(like, {instances}, ScalarType::Int);
    parts.instances = ints_to(roomy);
    size.capacity = instances;
    BinCall again = bin_call(size, parts, gathering.first);
    bin_with_scratch(again, like, on);
  }
  call.lists = lists_of(size, parts, gathering.first);
  for (int i = 0; i < size.layers; ++i)
    gathering.layer[i].faults = faults_at(faults, first_layer + i, looked_at[i]);
  gathering.status = parts.status;
  const Tensors results = set_layers(blended, gradients, asked, layers, call, gathering);
  const Tensor sums = sums_of(call, like, instances, on);
  gathering.sums = floats(sums);
  gathering.sum_stride = call.sum_stride;
  gather(gathering, on);
  return results;
}

Tensors project_backward(Tensors projected, std::vector<int64_t> kinds, Tensors gradients, Tensor views, bool moving,
                         int64_t faults, int64_t first_layer, std::vector<int64_t> looked_at, int64_t stream) {
  require(views.size(1) == kViewDoubles, "views have the wrong number of values");
  Tensors results;
  const DeviceScope scope(projected[0].get_device_index());
  for (size_t i = 0; i < kinds.size(); ++i) {
    const Tensor *given = &projected[i * kProjectedTensors], *gradient = &gradients[i * kProjectedGradients];
    const Tensor &like = given[kProjectedMeans], &sh = given[kProjectedSh], &rest = given[kProjectedShRest];
    const bool raw = kinds[i] & kIsRaw;
    const int64_t n = like.size(0), coefficients = raw ? 1 + rest.size(1) : sh.size(1);
    const Tensor means = empty_like(like, {n, 3}), scales = empty_like(like, {n, 3}), quats = empty_like(like, {n, 4});
    const Tensor opacities = empty_like(like, {n}), to_sh = empty_like(like, {sh.size(0), sh.size(1), 3});
    const Tensor to_rest = empty_like(like, {rest.size(0), rest.size(1), 3});
    const ProjectBackwardLayer layer{
        moving ? View{} : read<View>(views)[i],
        moving ? read<View>(views) + i : nullptr,
        {floats(like), floats(given[kProjectedScales]), floats(given[kProjectedQuats]),
         floats(given[kProjectedOpacities]), floats_or_null(sh), int(coefficients), raw, floats_or_null(rest)},
        ints(given[kProjectedRadii]),
        {floats_or_null(gradient[kOfMeans2d]), floats_or_null(gradient[kOfConics]),
         floats_or_null(gradient[kOfShColours])},
        {floats_to(means), floats_to(scales), floats_to(quats), floats_to(opacities), floats_to(to_sh),
         floats_to(to_rest)},
        faults_at(faults, first_layer + int64_t(i), looked_at[i])};
    moegs::project_backward(layer, n, stream_at(stream));
    results.insert(results.end(), {means, scales, quats, opacities, to_sh, to_rest});
  }
  return results;
}

int64_t look_at_background(Tensor gradient, int64_t faults, int64_t layer, int64_t stream) {
  const DeviceScope scope(gradient.get_device_index());
  look_at(floats(gradient), gradient.numel(), faults_at(faults, layer, 1 << kBadBackground), stream_at(stream));
  return 1;
}

}  // namespace moegs::gpu
