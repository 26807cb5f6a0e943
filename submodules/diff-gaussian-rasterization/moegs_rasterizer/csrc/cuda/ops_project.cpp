// Operators of the first stage: from 3D Gaussians to 2D ones, and back.
#include <cstring>

#include "ops.h"

namespace moegs::gpu {
namespace {

View view_of(const Tensor& views, int layer) {
  STD_TORCH_CHECK(views.size(1) == kViewDoubles, "views have the wrong number of values");
  View view;
  std::memcpy(&view, read<double>(views) + layer * kViewDoubles, sizeof view);
  return view;
}

Gaussians gaussians_of(const Tensor* given) {
  return {floats(given[kMeans]),     floats(given[kScales]),     floats(given[kQuats]),
          floats(given[kOpacities]), floats_or_null(given[kSh]), int(given[kSh].size(1))};
}

}  // namespace

Tensors project(Tensors gaussians, Tensor views, int64_t stream) {
  ProjectCall call{};
  const int64_t total = set_first(call, gaussians, kGaussianTensors);
  STD_TORCH_CHECK(call.count <= kMostLayers, "too many layers for one call");
  const Tensor& like = gaussians[0];
  Tensors results;
  Tensor depths = empty_like(like, {total}), tiles = empty_like(like, {total, 4}, ScalarType::Int);
  Tensor rows = empty_like(like, {total}, ScalarType::Int);
  Tensor status = empty_like(like, {kStatusWords}, ScalarType::Long);
  for (int i = 0; i < call.count; ++i) {
    const Tensor* given = &gaussians[i * kGaussianTensors];
    const int64_t count = given[kMeans].size(0);
    results.push_back(empty_like(like, {count, 2}));
    results.push_back(empty_like(like, {count, 4}));
    results.push_back(empty_like(like, {given[kSh].size(0), 3}));
    results.push_back(empty_like(like, {count}, ScalarType::Int));
    const Tensor* made = &results[i * kProjectedTensors];
    call.layer[i] = {view_of(views, i), gaussians_of(given),
                     {floats_to(made[kMeans2d]), floats_to(made[kConics]), floats_to(made[kShColours]),
                      floats_to(depths) + call.first[i], ints_to(made[kRadii]),
                      ints_to(tiles) + int64_t(4) * call.first[i]}};
  }
  call.rows = ints_to(rows);
  call.status = static_cast<unsigned long long*>(status.mutable_data_ptr());
  const DeviceScope scope(like.get_device_index());
  moegs::project(call, stream_at(stream));
  for (const Tensor& shared : {depths, tiles, rows, status}) results.push_back(shared);
  return results;
}

Tensors project_backward(Tensors gaussians, Tensor views, Tensors radii, Tensors gradients, int64_t stream) {
  Tensors results;
  const DeviceScope scope(gaussians[0].get_device_index());
  for (size_t i = 0; i < radii.size(); ++i) {
    const Tensor *given = &gaussians[i * kGaussianTensors], *gradient = &gradients[i * 3];
    for (int which = 0; which < kGaussianTensors; ++which) {
      std::vector<int64_t> sizes;
      for (int64_t dim = 0; dim < given[which].dim(); ++dim) sizes.push_back(given[which].size(dim));
      results.push_back(torch::stable::new_empty(given[which], {sizes.data(), sizes.size()}, ScalarType::Float));
    }
    const Tensor* made = &results[i * kGaussianTensors];
    const ProjectBackwardLayer layer{
        view_of(views, int(i)), gaussians_of(given), ints(radii[i]),
        {floats_or_null(gradient[0]), floats_or_null(gradient[1]), floats_or_null(gradient[2])},
        {floats_to(made[kMeans]), floats_to(made[kScales]), floats_to(made[kQuats]), floats_to(made[kOpacities]),
         floats_to(made[kSh])}};
    moegs::project_backward(layer, given[kMeans].size(0), stream_at(stream));
  }
  return results;
}

}  // namespace moegs::gpu
