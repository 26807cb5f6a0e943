// Registers the operators with PyTorch, under torch.ops.moegs_rasterizer.
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
      " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
  library.def(
      "project_backward(Tensor means, Tensor scales, Tensor quats, Tensor opacities, Tensor sh, Tensor view,"
      " Tensor radii, Tensor grad_means2d, Tensor grad_conics, Tensor grad_colours, int isa)"
      " -> (Tensor, Tensor, Tensor, Tensor, Tensor)");
  library.def(
      "blend(Tensor[] inputs, Tensor options, int width, int height, bool save, int most, int isa) -> Tensor[]");
  library.def(
      "blend_backward(Tensor[] inputs, Tensor[] results, Tensor[] gradients, int width, int height, bool linear,"
      " int band_floats, int isa) -> Tensor[]");
}

STABLE_TORCH_LIBRARY_IMPL(moegs_rasterizer, CompositeExplicitAutograd, library) {
  library.impl("supports", TORCH_BOX(&moegs::supports));
}

STABLE_TORCH_LIBRARY_IMPL(moegs_rasterizer, CPU, library) {
  library.impl("project", TORCH_BOX(&moegs::project));
  library.impl("project_backward", TORCH_BOX(&moegs::project_backward));
  library.impl("blend", TORCH_BOX(&moegs::blend));
  library.impl("blend_backward", TORCH_BOX(&moegs::blend_backward));
}
