// The operator that takes gradients of images to those of 2D Gaussians.
#include <algorithm>

#include "ops_lists.h"

namespace moegs::gpu {
namespace {

Tensor zeroed(const Tensor& like, int64_t rows, int64_t columns) {
  Tensor result = empty_like(like, {rows, columns});
  return torch::stable::zero_(result);
}

// Sums [rows, stride] of all rows, by atomic additions or, where `ordered`, over their instances in a fixed order.
Tensor sums_of(BlendBackwardCall& call, const Tensors& lists, int64_t instances, Stream stream) {
  const int64_t rows = call.lists.rows;
  const Tensor& like = lists[kShapes];
  Tensor sums = zeroed(like, rows, call.sum_stride);
  if (!call.ordered) {
    call.sums = floats_to(sums);
    moegs::blend_backward(call, stream);
    return sums;
  }
  Tensor by_instance = zeroed(like, instances, call.sum_stride);
  call.sums = floats_to(by_instance);
  moegs::blend_backward(call, stream);
  Tensor scratch = empty_like(like, {int64_t(ordered_scratch_bytes(instances, rows))}, ScalarType::Byte);
  add_in_order({instances, rows, call.sum_stride, ints(lists[kInstances]), floats(by_instance), floats_to(sums),
                static_cast<char*>(scratch.mutable_data_ptr())},
               stream);
  return sums;
}

// Empty tensors of a layer's gradients that the gathering kernel fills.
Tensors gradients_of(const Carried& layer, const Tensor& like, int64_t rows, bool linear) {
  return {empty_like(like, {linear ? 0 : rows, 2}), empty_like(like, {linear ? 0 : rows, 4}),
          empty_like(like, {linear ? 0 : rows, layer.colour_channels}),
          empty_like(like, {rows, layer.feature_channels})};
}

}  // namespace

Tensors blend_backward(Tensors carried, Tensors shared, Tensors lists, Tensors images, Tensors gradients,
                       std::vector<int64_t> asked, int64_t width, int64_t height, bool linear, bool ordered,
                       int64_t instances, int64_t stream) {
  PackCall packed{};
  set_first(packed, carried, kCarriedTensors);
  set_carried(packed, carried);
  const Tensor& like = carried[0];
  BlendBackwardCall call{};
  GatherCall gathering{};
  set_first(gathering, carried, kCarriedTensors);
  call.lists = lists_of(packed, shared, lists, width, height);
  call.linear = gathering.linear = linear;
  call.ordered = ordered;
  Tensors results;
  for (int i = 0; i < packed.count; ++i) {
    const Carried& layer = packed.layer[i];
    const bool wanted = std::find(asked.begin(), asked.end(), i) != asked.end();
    const Tensors made = gradients_of(layer, like, wanted ? carried[i * kCarriedTensors].size(0) : 0, linear);
    results.insert(results.end(), made.begin(), made.end());
    if (!wanted) continue;
    const Tensor *image = &images[i * kImageTensors], *gradient = &gradients[i * kImageGradients];
    call.layer[call.count++] = {layer.first_value,
                                floats(image[kColourImage]),
                                floats(image[kFeatureImage]),
                                floats(image[kLeftImage]),
                                floats_or_null(gradient[kColourGradient]),
                                floats_or_null(gradient[kFeatureGradient]),
                                floats_or_null(gradient[kAlphaGradient]),
                                layer.colour_channels,
                                layer.channels(),
                                i};
    const int channels = linear ? layer.feature_channels : layer.channels();
    call.sum_stride = std::max(call.sum_stride, sum_floats(channels, linear));
    gathering.layer[i] = {layer.conics,
                          floats_to(made[kGradMeans2d]),
                          floats_to(made[kGradConics]),
                          floats_to(made[kGradColours]),
                          floats_to(made[kGradFeatures]),
                          layer.colour_channels,
                          layer.feature_channels,
                          true};
  }
  const DeviceScope scope(like.get_device_index());
  const Tensor sums = sums_of(call, lists, instances, stream_at(stream));
  gathering.sums = floats(sums);
  gathering.sum_stride = call.sum_stride;
  gather(gathering, stream_at(stream));
  return results;
}

}  // namespace moegs::gpu
