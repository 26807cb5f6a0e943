// Registers the operators with PyTorch, under torch.ops.moegs_rasterizer_cuda.
#include "../guarded.h"
#include "ops.h"

STABLE_TORCH_LIBRARY(moegs_rasterizer_cuda, library) {
  library.def(
      "forward(Tensor[] given, int[] kinds, Tensor world_to_camera, float[] pinhole, float[] settings,"
      " int mail, int sequence, int moving, int capacity, int width, int height, bool save, bool half, int stream) -> Tensor[]");
  library.def(
      "blend_backward(Tensor[] blended, Tensor(a!) kept, Tensor[] gradients, int[] asked, int capacity,"
      " int instances, bool linear, bool ordered, int faults, int first_layer, int[] looked_at, int stream)"
      " -> Tensor[]");
  library.def(
      "project_backward(Tensor[] projected, int[] kinds, Tensor[] gradients, Tensor views, bool moving, int faults,"
      " int first_layer, int[] looked_at, int stream) -> Tensor[]");
  library.def("look_at_background(Tensor gradient, int faults, int layer, int stream) -> int");
  library.def("last_failure() -> int[]");
}

// `world_to_camera` and `views` lie on the CPU, all else on the GPU: one implementation for both keys.
STABLE_TORCH_LIBRARY_IMPL(moegs_rasterizer_cuda, CompositeExplicitAutograd, library) {
  using moegs::implement, moegs::last_failure;
  using namespace moegs::gpu;
  implement<&forward>(library, "forward");
  implement<&blend_backward>(library, "blend_backward");
  implement<&project_backward>(library, "project_backward");
  implement<&look_at_background>(library, "look_at_background");
  implement<&last_failure>(library, "last_failure");
}
