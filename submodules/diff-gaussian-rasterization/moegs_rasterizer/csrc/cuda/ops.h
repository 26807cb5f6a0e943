// The operators PyTorch sees; cuda/passes.py calls them, cuda/autograd.py gives their derivatives. Float tensors are
// float32, contiguous and on one GPU, but for `world_to_camera` and, outside of CUDA graphs, `views` (CPU). `stream` is a
// cudaStream_t, `mail` an address in pinned memory, where kMailWords are written.
#pragma once

#include "../tensors.h"
#include "../failure.h"
#include "launch.h"

namespace moegs::gpu {

// Tensors of each layer, one layer after the other, in the order of these enumerations. What is absent may be any
// tensor in `given` (`kinds` tells), and is an empty one elsewhere.
enum GivenTensor { kMeans, kScales, kQuats, kOpacities, kSh, kColours, kFeatures, kBackground, kGivenTensors };
enum ResultTensor { kMeans2d, kRadii, kColourImage, kFeatureImage, kAlphaImage, kDepthImage, kResultTensors };
// Only with `save`, after the results of all layers; then `kept`, one tensor of bytes (workspace.h), and `views`
// [layers, kViewDoubles].
enum SavedTensor { kConics, kShColours, kLeftImage, kSavedTensors };
enum BlendedTensor { kBlendedConics, kBlendedColour, kBlendedFeatures, kBlendedLeft, kBlendedTensors };
enum ImageGradient { kColourGradient, kFeatureGradient, kAlphaGradient, kImageGradients };
enum CarriedGradient { kGradMeans2d, kGradConics, kGradColours, kGradFeatures, kCarriedGradients };
enum ProjectedTensor { kProjectedMeans, kProjectedScales, kProjectedQuats, kProjectedOpacities, kProjectedSh,
                       kProjectedShRest, kProjectedRadii, kProjectedTensors };
enum ProjectedGradient { kOfMeans2d, kOfConics, kOfShColours, kProjectedGradients };

// The whole forward pass. inputs.h: kinds, pinhole and settings. `capacity` is the room for instances; the mail gets
// their number, faults and `sequence`. `moving` is 0, or an address in pinned memory that gets the layers' views: a CUDA
// graph reads them there at each replay. `half`: images in half precision. Gives no tensors where the input does not fit.
Tensors forward(Tensors given, std::vector<int64_t> kinds, Tensor world_to_camera, std::vector<double> pinhole,
                std::vector<double> settings, int64_t mail, int64_t sequence, int64_t moving, int64_t capacity,
                int64_t width, int64_t height, bool save, bool half, int64_t stream);

constexpr int64_t kUnread = -1;

// Gradients of the images of each layer (kImageGradients) to kCarriedGradients a layer, empty where not made: of layers
// not in `asked`, and where `linear` of everything but features. `capacity` as forward had it, `instances` as it
// reported them: where there was no room for them, they are listed now. `ordered` sums in a fixed order. `faults` is an
// address in pinned memory that is told of gradients that are not finite, of the kinds `looked_at` of each layer.
// In a CUDA graph no host reads the report, and `instances` is kUnread: where there was no room, every Gaussian is
// looked at for each tile; not where `ordered`.
Tensors blend_backward(Tensors blended, Tensor kept, Tensors gradients, std::vector<int64_t> asked, int64_t capacity,
                       int64_t instances, bool linear, bool ordered, int64_t faults, int64_t first_layer,
                       std::vector<int64_t> looked_at, int64_t stream);

// Gradients of means2d, conics and colours of each layer to those of means, scales, quats, opacities, sh and the rest
// of sh (empty where there is none): of what was given, raw or not as `kinds` says. `moving`: the views lie on the GPU.
Tensors project_backward(Tensors projected, std::vector<int64_t> kinds, Tensors gradients, Tensor views, bool moving,
                         int64_t faults, int64_t first_layer, std::vector<int64_t> looked_at, int64_t stream);

// Tells `faults` where the gradient of a layer's background is not finite. Gives 1.
int64_t look_at_background(Tensor gradient, int64_t faults, int64_t layer, int64_t stream);

// PyTorch's number of a type that the operators use; another is a fault of theirs.
inline int32_t number_of(ScalarType type) {
  if (type == ScalarType::Float) return aoti_torch_dtype_float32();
  if (type == ScalarType::Double) return aoti_torch_dtype_float64();
  if (type == ScalarType::Int) return aoti_torch_dtype_int32();
  require(type == ScalarType::Byte, "the rasterizer makes no tensors of this type");
  return aoti_torch_dtype_uint8();
}

// Without the detour by new_empty, which PyTorch dispatches twice: a call makes a dozen of them.
inline Tensor empty_like(const Tensor& like, std::initializer_list<int64_t> shape,
                         ScalarType type = ScalarType::Float) {
  int64_t strides[4], step = 1;
  const int64_t* const sizes = shape.begin();
  for (int dim = int(shape.size()) - 1; dim >= 0; --dim) strides[dim] = step, step *= sizes[dim] > 0 ? sizes[dim] : 1;
  int32_t device_type;
  AtenTensorHandle made = nullptr;
  const bool done = aoti_torch_get_device_type(like.get(), &device_type) == AOTI_TORCH_SUCCESS &&
                    aoti_torch_empty_strided(int64_t(shape.size()), sizes, strides, number_of(type), device_type,
                                             like.get_device_index(), &made) == AOTI_TORCH_SUCCESS;
  if (done) return Tensor(made);
  const int64_t bytes = step * (type == ScalarType::Double ? 8 : type == ScalarType::Byte ? 1 : 4);
  // faults.py reads it.
  throw Failure("CUDA out of memory: the rasterizer asks for " + std::to_string(bytes) + " bytes");
}

inline GradientFaults faults_at(int64_t address, int64_t layer, int64_t looked_at) {
  return {reinterpret_cast<long long*>(address), int(layer), unsigned(looked_at)};
}

inline Stream stream_at(int64_t number) { return reinterpret_cast<Stream>(number); }

inline int tiles_along(int64_t pixels) { return int((pixels + kTile - 1) / kTile); }

}  // namespace moegs::gpu
