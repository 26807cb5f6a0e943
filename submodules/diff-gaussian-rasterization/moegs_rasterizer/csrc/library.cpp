// Registers the operators with PyTorch, under torch.ops.moegs_rasterizer.
#include "guarded.h"
#include "kernels.h"
#include "ops.h"

namespace moegs {
namespace {

bool supports(int64_t isa) { return isa_supported(int(isa)); }

}  // namespace
}  // namespace moegs

STABLE_TORCH_LIBRARY(moegs_rasterizer, library) {
  library.def("supports(int isa) -> bool");
  library.def(
      "project(Tensor means, Tensor scales, Tensor quats, Tensor opacities, Tensor sh, Tensor view, int isa)"
      " -> Tensor[]");
  library.def(
      "project_backward(Tensor means, Tensor scales, Tensor quats, Tensor opacities, Tensor sh, Tensor view,"
      " Tensor radii, Tensor grad_means2d, Tensor grad_conics, Tensor grad_colours, int isa)"
      " -> Tensor[]");
  library.def(
      "blend(Tensor[] inputs, Tensor options, int width, int height, bool save, int most, int isa) -> Tensor[]");
  library.def(
      "blend_backward(Tensor[] inputs, Tensor[] results, Tensor[] gradients, int width, int height, bool linear,"
      " int band_floats, int isa) -> Tensor[]");
  library.def("last_failure() -> int[]");
}

STABLE_TORCH_LIBRARY_IMPL(moegs_rasterizer, CompositeExplicitAutograd, library) {
  using namespace moegs;
  implement<&supports>(library, "supports");
  implement<&last_failure>(library, "last_failure");
}

STABLE_TORCH_LIBRARY_IMPL(moegs_rasterizer, CPU, library) {
  using namespace moegs;
  implement<&project>(library, "project");
  implement<&project_backward>(library, "project_backward");
  implement<&blend>(library, "blend");
  implement<&blend_backward>(library, "blend_backward");
}
