// Registers the operators with PyTorch, under torch.ops.moegs_rasterizer_cuda.
#include "ops.h"

STABLE_TORCH_LIBRARY(moegs_rasterizer_cuda, library) {
  library.def("project(Tensor[] gaussians, Tensor views, int stream) -> Tensor[]");
  library.def(
      "project_backward(Tensor[] gaussians, Tensor views, Tensor[] radii, Tensor[] gradients, int stream)"
      " -> Tensor[]");
  library.def(
      "bin(Tensor[] carried, Tensor(a!)[] shared, Tensor(b!) mail, int sequence, int capacity, int width, int height,"
      " int stream) -> Tensor[]");
  library.def(
      "blend(Tensor[] carried, Tensor[] shared, Tensor[] lists, Tensor options, int width, int height, bool save,"
      " int stream) -> Tensor[]");
  library.def(
      "blend_backward(Tensor[] carried, Tensor[] shared, Tensor[] lists, Tensor[] images, Tensor[] gradients,"
      " int[] asked, int width, int height, bool linear, bool ordered, int instances, int stream) -> Tensor[]");
}

// `views`, `options` and `mail` lie on the CPU, all else on the GPU: one implementation for both keys.
STABLE_TORCH_LIBRARY_IMPL(moegs_rasterizer_cuda, CompositeExplicitAutograd, library) {
  library.impl("project", TORCH_BOX(&moegs::gpu::project));
  library.impl("project_backward", TORCH_BOX(&moegs::gpu::project_backward));
  library.impl("bin", TORCH_BOX(&moegs::gpu::bin));
  library.impl("blend", TORCH_BOX(&moegs::gpu::blend));
  library.impl("blend_backward", TORCH_BOX(&moegs::gpu::blend_backward));
}
