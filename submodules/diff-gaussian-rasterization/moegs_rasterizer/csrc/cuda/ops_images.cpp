// Operators on rasterized images: router/gates_cuda.py and losses/photometric_cuda.py call them. All tensors are
// float32, contiguous and on one GPU; empty tensors stand for absent ones.
#include "../guarded.h"
#include "images.h"
#include "ops.h"

namespace moegs::gpu {
namespace {

GatesCall gates_call(const Tensors& features, const Tensor& images, const Tensor& rays, const Tensors& weights,
                     double temperature) {
  require(!features.empty() && features.size() <= size_t(kMostBlended), "1 to 8 experts can be blended");
  const int64_t pixels = features[0].size(1) * features[0].size(2);
  const int64_t inputs = rays.numel() ? kSplatted + kRay : kSplatted;
  bool fit = images.numel() == int64_t(features.size()) * 3 * pixels && weights[0].numel() == kFirst * inputs &&
             weights[1].numel() == kSecondWeights && weights[2].numel() == kSecond &&
             (rays.numel() == 0 || rays.numel() == kRay * pixels);
  for (const Tensor& one : features) fit = fit && one.numel() == 3 * pixels;
  require(fit, "features, images, rays and weights do not fit each other");
  GatesCall call{};
  call.experts = int(features.size());
  for (int i = 0; i < call.experts; ++i) call.features[i] = floats(features[i]);
  call.images = floats(images);
  call.rays = floats_or_null(rays);
  call.first = floats(weights[0]);
  call.second = floats(weights[1]);
  call.third = floats(weights[2]);
  call.pixels = pixels;
  call.temperature = float(temperature);
  return call;
}

}  // namespace

// Gives image [3, h, w], gates and logits [experts, h, w].
Tensors blend_gates(Tensors features, Tensor images, Tensor rays, Tensors weights, double temperature,
                    int64_t stream) {
  const int64_t height = features[0].size(1), width = features[0].size(2), experts = int64_t(features.size());
  Tensors made{empty_like(images, {3, height, width}), empty_like(images, {experts, height, width}),
               empty_like(images, {experts, height, width})};
  const GatesCall call = gates_call(features, images, rays, weights, temperature);
  const DeviceScope scope(images.get_device_index());
  moegs::blend_gates(call, {floats_to(made[0]), floats_to(made[1]), floats_to(made[2])}, stream_at(stream));
  return made;
}

// gradients: of image, gates and logits. Gives those of the features [experts, 3, h, w], and of all weights, flat.
Tensors blend_gates_backward(Tensors features, Tensor images, Tensor rays, Tensors weights, double temperature,
                             Tensor gates, Tensors gradients, int64_t stream) {
  const int64_t height = features[0].size(1), width = features[0].size(2), experts = int64_t(features.size());
  Tensors made{empty_like(images, {experts, 3, height, width}), empty_like(images, {kHeadWeights})};
  Tensor scratch = empty_like(images, {gates_scratch_floats()});
  const GatesCall call = gates_call(features, images, rays, weights, temperature);
  const DeviceScope scope(images.get_device_index());
  moegs::blend_gates_backward(call,
                              {floats(gates), floats_or_null(gradients[0]), floats_or_null(gradients[1]),
                               floats_or_null(gradients[2]), floats_to(made[0]), floats_to(made[1]),
                               floats_to(scratch)},
                              stream_at(stream));
  return made;
}

// a, b [n, h, w]. Gives the loss [1], and with `save` the slopes [3, n, h, w] for the way back, else none.
Tensors photometric(Tensor a, Tensor b, double l1, double dssim, bool save, int64_t stream) {
  require(a.numel() == b.numel(), "images of different sizes cannot be compared");
  const int64_t count = a.size(0), height = a.size(1), width = a.size(2);
  Tensors made{empty_like(a, {1}), empty_like(a, {save ? 3 : 0, count, height, width})};
  Tensor scratch = empty_like(a, {loss_scratch_doubles(int(count), int(height), int(width))}, ScalarType::Double);
  LossCall call{floats(a), floats(b), int(count), int(height), int(width), float(l1), float(dssim)};
  call.slopes = save ? floats_to(made[1]) : nullptr;
  call.scratch = static_cast<double*>(scratch.mutable_data_ptr());
  call.loss = floats_to(made[0]);
  const DeviceScope scope(a.get_device_index());
  moegs::photometric(call, stream_at(stream));
  return made;
}

// The gradient of a alone, from that of the loss [1].
Tensors photometric_backward(Tensor a, Tensor b, Tensor slopes, Tensor of_loss, double l1, double dssim,
                            int64_t stream) {
  const int64_t count = a.size(0), height = a.size(1), width = a.size(2);
  Tensor made = empty_like(a, {count, height, width});
  const DeviceScope scope(a.get_device_index());
  moegs::photometric_backward({floats(a), floats(b), floats(slopes), floats(of_loss), int(count), int(height),
                               int(width), float(l1), float(dssim), floats_to(made)},
                              stream_at(stream));
  return {made};
}

}  // namespace moegs::gpu

STABLE_TORCH_LIBRARY_FRAGMENT(moegs_rasterizer_cuda, library) {
  library.def(
      "blend_gates(Tensor[] features, Tensor images, Tensor rays, Tensor[] weights, float temperature, int stream)"
      " -> Tensor[]");
  library.def(
      "blend_gates_backward(Tensor[] features, Tensor images, Tensor rays, Tensor[] weights, float temperature,"
      " Tensor gates, Tensor[] gradients, int stream) -> Tensor[]");
  library.def("photometric(Tensor a, Tensor b, float l1, float dssim, bool save, int stream) -> Tensor[]");
  library.def(
      "photometric_backward(Tensor a, Tensor b, Tensor slopes, Tensor of_loss, float l1, float dssim, int stream)"
      " -> Tensor[]");
}

STABLE_TORCH_LIBRARY_IMPL(moegs_rasterizer_cuda, CompositeExplicitAutograd, library) {
  using moegs::implement;
  using namespace moegs::gpu;
  implement<&blend_gates>(library, "blend_gates");
  implement<&blend_gates_backward>(library, "blend_gates_backward");
  implement<&photometric>(library, "photometric");
  implement<&photometric_backward>(library, "photometric_backward");
}
