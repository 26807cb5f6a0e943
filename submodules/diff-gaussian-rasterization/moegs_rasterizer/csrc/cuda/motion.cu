// One thread a Gaussian. A NaN must stay one, so limits are comparisons: fminf and fmaxf would drop it.
#include "motion.h"

#include "device.cuh"

namespace moegs {
namespace {

constexpr int kThreads = 256;
constexpr float kSmallestLength = 1e-12f;  // common/maths/vectors_fused.py: SMALLEST

__global__ void __launch_bounds__(kThreads) move_kernel(const __grid_constant__ MotionCall call) {
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= call.count) return;
  const float offset = call.time - call.window_centres[i];
  const float* motion = call.motion + 9 * i;
  for (int k = 0; k < 3; ++k) {
    const float slope = fmaf(offset, fmaf(offset, motion[6 + k], motion[3 + k]), motion[k]);
    call.means_then[3 * i + k] = fmaf(offset, slope, call.means[3 * i + k]);
  }
  float quat[4], square = 0;
  for (int k = 0; k < 4; ++k) {
    quat[k] = fmaf(offset, call.omegas[4 * i + k], call.quats[4 * i + k]);
    square = fmaf(quat[k], quat[k], square);
  }
  const float length = sqrtf(square), over = length < kSmallestLength ? kSmallestLength : length;
  store4(call.quats_then + 4 * i, make_float4(quat[0] / over, quat[1] / over, quat[2] / over, quat[3] / over));
  const float most = call.most_log_width, given = call.log_widths[i];
  const float log_width = given > most ? most : given < -most ? -most : given;
  const float widths = offset * expf(-log_width);  // that lie between the time and the window's centre
  call.opacities_then[i] = expf(-widths * widths) / (1.0f + expf(-call.opacity_logits[i]));
}

}  // namespace

void move(const MotionCall& call, Stream stream) {
  if (call.count == 0) return;
  launch("moving Gaussians", move_kernel, blocks_for(call.count, kThreads), kThreads, 0, stream_of(stream), call);
}

}  // namespace moegs
