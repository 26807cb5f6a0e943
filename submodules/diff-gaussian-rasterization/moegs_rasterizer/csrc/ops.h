// The operators PyTorch sees; cpu/backend.py calls them and gives them their derivatives. Float tensors are float32,
// contiguous and on the CPU; empty tensors stand for absent ones. `isa` is one of Isa in kernels.h.
#pragma once

#include "tensors.h"

namespace moegs {

// means2d, conics, colours (empty without sh), depths, radii, tiles: see Projected in layout.h.
Tensors project(Tensor means, Tensor scales, Tensor quats, Tensor opacities, Tensor sh, Tensor view, int64_t isa);

// Gradients of means, scales, quats, opacities and sh.
Tensors project_backward(Tensor means, Tensor scales, Tensor quats, Tensor opacities, Tensor sh, Tensor view,
                         Tensor radii, Tensor grad_means2d, Tensor grad_conics, Tensor grad_colours, int64_t isa);

// Tensors of each layer, one layer after the other, in the order of these enumerations.
enum BlendInput { kMeans2d, kConics, kDepths, kTiles, kColours, kFeatures, kBackground, kBlendInputs };
enum BlendOutput { kColourImage, kFeatureImage, kAlphaImage, kDepthImage, kBlendOutputs };
// What the backward pass needs besides inputs and outputs; empty where `save` is false. kLeft is Blend::left.
enum BlendSaved { kLeft, kOrder, kRecords, kTileFirst, kInstances, kSlotFirst, kSlots, kBlendSaved };
enum BlendGradient { kGradMeans2d, kGradConics, kGradColours, kGradFeatures, kBlendGradients };

// options [layers, 2] float64: depth kind, depth of empty pixels. Gives kBlendOutputs + kBlendSaved tensors a layer;
// where a layer's Gaussians reach more than `most` tiles in all, one tensor [0, their number]. `most` is below 2^31.
Tensors blend(Tensors inputs, Tensor options, int64_t width, int64_t height, bool save, int64_t most, int64_t isa);

// inputs as in blend, results as it gave them, gradients of its kBlendOutputs (the depth's is ignored). Where `linear`,
// only the features' gradients are made. Gives kBlendGradients tensors a layer, empty where not made. band_floats
// bounds the memory for what is summed up later.
Tensors blend_backward(Tensors inputs, Tensors results, Tensors gradients, int64_t width, int64_t height, bool linear,
                       int64_t band_floats, int64_t isa);

}  // namespace moegs
