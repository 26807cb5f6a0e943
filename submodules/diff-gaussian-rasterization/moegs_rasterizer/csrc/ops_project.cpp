// Operators of the first stage: from 3D Gaussians to 2D ones.
#include <cstring>

#include "kernels.h"
#include "ops.h"
#include "parallel.h"

namespace moegs {
namespace {

constexpr int64_t kGrain = 1024;  // rows a worker takes at a time

View view_of(const Tensor& doubles) {
  require(doubles.numel() == kViewDoubles, "view has the wrong number of values");
  View view;
  std::memcpy(&view, read<double>(doubles), sizeof view);
  return view;
}

Gaussians gaussians_of(const Tensor& means, const Tensor& scales, const Tensor& quats, const Tensor& opacities,
                       const Tensor& sh) {
  return {floats(means), floats(scales), floats(quats), floats(opacities), floats_or_null(sh),
          int(sh.size(1))};
}

}  // namespace

Tensors project(Tensor means, Tensor scales, Tensor quats, Tensor opacities, Tensor sh, Tensor view, int64_t isa) {
  const int64_t count = means.size(0);
  const View seen = view_of(view);
  const Gaussians gaussians = gaussians_of(means, scales, quats, opacities, sh);
  Tensor means2d = empty({count, 2}), conics = empty({count, 4}), depths = empty({count});
  Tensor colours = empty({sh.size(0), 3});
  Tensor radii = empty({count}, ScalarType::Int), tiles = empty({count, 4}, ScalarType::Int);
  const Projected to{floats_to(means2d), floats_to(conics), floats_to(colours),
                     floats_to(depths),  ints_to(radii),    ints_to(tiles)};
  const Kernels& kernel = kernels(int(isa));
  parallel_rows(count, kGrain, [&](int64_t begin, int64_t end) { kernel.project(seen, gaussians, begin, end, to); });
  return {means2d, conics, colours, depths, radii, tiles};
}

Tensors project_backward(Tensor means, Tensor scales, Tensor quats, Tensor opacities, Tensor sh, Tensor view,
                         Tensor radii, Tensor grad_means2d, Tensor grad_conics, Tensor grad_colours, int64_t isa) {
  const int64_t count = means.size(0);
  const View seen = view_of(view);
  const Gaussians gaussians = gaussians_of(means, scales, quats, opacities, sh);
  Tensor to_means = empty({count, 3}), to_scales = empty({count, 3}), to_quats = empty({count, 4});
  Tensor to_opacities = empty({count}), to_sh = empty({sh.size(0), sh.size(1), 3});
  const ProjectedGradients given{floats_or_null(grad_means2d), floats_or_null(grad_conics),
                                 floats_or_null(grad_colours)};
  const GaussianGradients to{floats_to(to_means), floats_to(to_scales), floats_to(to_quats), floats_to(to_opacities),
                             floats_to(to_sh)};
  const Kernels& kernel = kernels(int(isa));
  parallel_rows(count, kGrain, [&](int64_t begin, int64_t end) {
    kernel.project_backward(seen, gaussians, begin, end, ints(radii), given, to);
  });
  return {to_means, to_scales, to_quats, to_opacities, to_sh};
}

}  // namespace moegs
