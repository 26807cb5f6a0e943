// The operators PyTorch sees; cuda/passes.py looks them up, cuda/autograd.py gives their derivatives. Float tensors
// are float32, contiguous and on one GPU, but for `views` and `options` (float64, CPU) and `mail` (int64, pinned CPU
// memory); empty tensors stand for absent ones. `stream` is a cudaStream_t.
#pragma once

#include "../tensors.h"
#include "launch.h"

namespace moegs::gpu {

// Tensors of each layer, one layer after the other, in the order of these enumerations.
enum GaussianTensor { kMeans, kScales, kQuats, kOpacities, kSh, kGaussianTensors };
enum ProjectedTensor { kMeans2d, kConics, kShColours, kRadii, kProjectedTensors };
// After those of all layers: of all rows together.
enum SharedTensor { kDepths, kTiles, kRows, kStatus, kSharedTensors };
enum CarriedTensor { kCarriedMeans2d, kCarriedConics, kColours, kFeatures, kBackground, kCarriedTensors };
enum ListTensor { kShapes, kValues, kInstances, kRanges, kOrder, kCounts, kListTensors };
enum ImageTensor { kColourImage, kFeatureImage, kAlphaImage, kDepthImage, kLeftImage, kImageTensors };
enum ImageGradient { kColourGradient, kFeatureGradient, kAlphaGradient, kImageGradients };
enum CarriedGradient { kGradMeans2d, kGradConics, kGradColours, kGradFeatures, kCarriedGradients };

// Row-wise doubles of View, [layers, kViewDoubles]. Gives kProjectedTensors a layer, then kSharedTensors.
Tensors project(Tensors gaussians, Tensor views, int64_t stream);

// Gradients of means, scales, quats, opacities and sh of each layer.
Tensors project_backward(Tensors gaussians, Tensor views, Tensors radii, Tensors gradients, int64_t stream);

// Gives kListTensors; status gets the number of instances, the mail all of it and `sequence`.
Tensors bin(Tensors carried, Tensors shared, Tensor mail, int64_t sequence, int64_t capacity, int64_t width,
            int64_t height, int64_t stream);

// options [layers, 2]: depth kind, depth of empty pixels. Gives kImageTensors a layer, kLeftImage empty without save.
Tensors blend(Tensors carried, Tensors shared, Tensors lists, Tensor options, int64_t width, int64_t height, bool save,
              int64_t stream);

// Gradients of the images of each layer (kImageGradients) to kCarriedGradients a layer, empty where not made: of layers
// not in `asked`, and where `linear` of everything but features. `ordered` sums in a fixed order; `instances` says how
// many the lists hold.
Tensors blend_backward(Tensors carried, Tensors shared, Tensors lists, Tensors images, Tensors gradients,
                       std::vector<int64_t> asked, int64_t width, int64_t height, bool linear, bool ordered,
                       int64_t instances, int64_t stream);

inline Tensor empty_like(const Tensor& like, std::initializer_list<int64_t> shape,
                         ScalarType type = ScalarType::Float) {
  const std::vector<int64_t> sizes(shape);
  return torch::stable::new_empty(like, {sizes.data(), sizes.size()}, type);
}

inline Stream stream_at(int64_t number) { return reinterpret_cast<Stream>(number); }

inline int tiles_along(int64_t pixels) { return int((pixels + kTile - 1) / kTile); }

template <typename Call>
int64_t set_first(Call& call, const Tensors& tensors, int each) {
  call.count = int(tensors.size()) / each;
  call.first[0] = 0;
  for (int layer = 0; layer < call.count; ++layer)
    call.first[layer + 1] = call.first[layer] + int(tensors[layer * each].size(0));
  return call.first[call.count];
}

}  // namespace moegs::gpu
