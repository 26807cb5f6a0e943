// The operator behind experts/stg/motion_cuda.py. All tensors are float32, contiguous and on one GPU.
#include <iterator>

#include "../guarded.h"
#include "motion.h"
#include "ops.h"

namespace moegs::gpu {

// given: means, motion, quats, omegas, opacity_logits, window_centres, log_widths. Gives means, quats, opacities.
Tensors moved(Tensors given, double time, double most_log_width, int64_t stream) {
  constexpr int64_t kColumns[] = {3, 9, 4, 4, 1, 1, 1};
  require(given.size() == std::size(kColumns), "Gaussians that move have seven tensors");
  const Tensor& means = given[0];
  const int64_t count = means.size(0);
  for (size_t k = 0; k < given.size(); ++k)
    require(given[k].numel() == count * kColumns[k], "the tensors of Gaussians that move do not fit each other");
  Tensors made{empty_like(means, {count, 3}), empty_like(means, {count, 4}), empty_like(means, {count})};
  const DeviceScope scope(means.get_device_index());
  move({floats(means), floats(given[1]), floats(given[2]), floats(given[3]), floats(given[4]), floats(given[5]),
        floats(given[6]), count, float(time), float(most_log_width), floats_to(made[0]), floats_to(made[1]),
        floats_to(made[2])},
       stream_at(stream));
  return made;
}

}  // namespace moegs::gpu

STABLE_TORCH_LIBRARY_FRAGMENT(moegs_rasterizer_cuda, library) {
  library.def("moved(Tensor[] given, float time, float most_log_width, int stream) -> Tensor[]");
}

STABLE_TORCH_LIBRARY_IMPL(moegs_rasterizer_cuda, CompositeExplicitAutograd, library) {
  using moegs::implement;
  using namespace moegs::gpu;
  implement<&moved>(library, "moved");
}
