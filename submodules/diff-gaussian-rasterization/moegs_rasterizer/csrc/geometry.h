// From a 3D Gaussian to a 2D one (EWA splatting as in 3DGS) and back, one Gaussian at a time. In double, because
// ill-conditioned covariances lose too much in float and the cost is small beside blending.
#pragma once

#include "layout.h"
#include "portable.h"

namespace moegs::MOEGS_ISA {

constexpr double kJacobianLimit = 1.3;     // times the tangent of half the field of view (3DGS)
constexpr double kDepthGuard = 1e-7;       // 3DGS's guard against a zero divisor
constexpr double kLeastDeterminant = 1e-6; // Ex4DGS's compensation

MOEGS_BOTH double clamp(double value, double low, double high) {
  return value < low ? low : value > high ? high : value;
}

MOEGS_BOTH double dot(const double* a, const double* b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

MOEGS_BOTH void cross(const double* a, const double* b, double* result) {
  result[0] = a[1] * b[2] - a[2] * b[1];
  result[1] = a[2] * b[0] - a[0] * b[2];
  result[2] = a[0] * b[1] - a[1] * b[0];
}

MOEGS_BOTH GaussianRow row_of(const Gaussians& in, int64_t i) {
  return {in.means + 3 * i, in.scales + 3 * i, in.quats + 4 * i, in.opacities[i]};
}

// Quotients that are the same for all Gaussians of a camera.
MOEGS_BOTH Pinhole pinhole_of(const ViewCamera& camera) {
  Pinhole found;
  found.x_by_x = 2 * camera.fx / camera.width;
  found.x_by_z = 2 * camera.cx / camera.width - 1;
  found.y_by_y = 2 * camera.fy / camera.height;
  found.y_by_z = 2 * camera.cy / camera.height - 1;
  found.limit_x = kJacobianLimit * camera.width / (2 * camera.fx);
  found.limit_y = kJacobianLimit * camera.height / (2 * camera.fy);
  return found;
}

MOEGS_BOTH void camera_point(const View& view, const float* mean, double* point) {
  for (int i = 0; i < 3; ++i) {
    const double* row = view.rotation + 3 * i;
    point[i] = row[0] * mean[0] + row[1] * mean[1] + row[2] * mean[2] + view.translation[i];
  }
}

// Rotation matrix, row-major, of a quaternion wxyz by the quadratic formula, not normalised (3DGS's kernels).
MOEGS_BOTH void quaternion_matrix(const float* quat, double* m) {
  const double w = quat[0], x = quat[1], y = quat[2], z = quat[3];
  m[0] = 1 - 2 * (y * y + z * z), m[1] = 2 * (x * y - w * z), m[2] = 2 * (x * z + w * y);
  m[3] = 2 * (x * y + w * z), m[4] = 1 - 2 * (x * x + z * z), m[5] = 2 * (y * z - w * x);
  m[6] = 2 * (x * z - w * y), m[7] = 2 * (y * z + w * x), m[8] = 1 - 2 * (x * x + y * y);
}

MOEGS_BOTH void quaternion_matrix_backward(const float* quat, const double* g, float* gradient) {
  const double w = quat[0], x = quat[1], y = quat[2], z = quat[3];
  gradient[0] = float(2 * (x * (g[7] - g[5]) + y * (g[2] - g[6]) + z * (g[3] - g[1])));
  gradient[1] = float(2 * (y * (g[1] + g[3]) + z * (g[2] + g[6]) + w * (g[7] - g[5])) - 4 * x * (g[4] + g[8]));
  gradient[2] = float(2 * (x * (g[1] + g[3]) + z * (g[5] + g[7]) + w * (g[2] - g[6])) - 4 * y * (g[0] + g[8]));
  gradient[3] = float(2 * (x * (g[2] + g[6]) + y * (g[5] + g[7]) + w * (g[3] - g[1])) - 4 * z * (g[0] + g[4]));
}

// The 2D covariance as V V^T, rows v0 and v1 of V = Jacobian * world_to_camera * R * diag(scales). Its determinant is
// |v0 x v1|^2 (Lagrange), which does not suffer from the cancellation in xx yy - xy^2.
struct Footprint {
  double slope_x, slope_y;        // x / z and y / z of the mean, clamped towards the image
  bool clamped_x, clamped_y;
  double jacobian0[3], jacobian1[3];  // derivative of the pixel by the world position
  double matrix[9];                   // quaternion_matrix
  double axes0[3], axes1[3];          // V without the scales
  double v0[3], v1[3], normal[3];     // normal = v0 x v1
  double xx, xy, yy;                  // px^2, low-pass added
  double before, after;               // determinants without and with the low-pass, px^4

  MOEGS_BOTH Footprint(const View& view, const Pinhole& pinhole, const double* point, const float* scale,
                       const float* quat) {
    const double x = point[0], y = point[1], z = point[2];
    slope_x = clamp(x / z, -pinhole.limit_x, pinhole.limit_x);
    slope_y = clamp(y / z, -pinhole.limit_y, pinhole.limit_y);
    clamped_x = slope_x != x / z;
    clamped_y = slope_y != y / z;
    quaternion_matrix(quat, matrix);
    const double* w = view.rotation;
    for (int k = 0; k < 3; ++k) {
      jacobian0[k] = view.fx / z * (w[k] - slope_x * w[6 + k]);
      jacobian1[k] = view.fy / z * (w[3 + k] - slope_y * w[6 + k]);
    }
    for (int k = 0; k < 3; ++k) {
      axes0[k] = jacobian0[0] * matrix[k] + jacobian0[1] * matrix[3 + k] + jacobian0[2] * matrix[6 + k];
      axes1[k] = jacobian1[0] * matrix[k] + jacobian1[1] * matrix[3 + k] + jacobian1[2] * matrix[6 + k];
      v0[k] = axes0[k] * scale[k];
      v1[k] = axes1[k] * scale[k];
    }
    cross(v0, v1, normal);
    before = dot(normal, normal);
    const double raw_xx = dot(v0, v0), raw_yy = dot(v1, v1);
    xx = raw_xx + view.low_pass;
    xy = dot(v0, v1);
    yy = raw_yy + view.low_pass;
    after = before + view.low_pass * (raw_xx + raw_yy) + view.low_pass * view.low_pass;
  }

  // Ex4DGS's opacity factor for what the low-pass widened; 0 where a determinant is <= 1e-6.
  MOEGS_BOTH double compensation() const {
    if (before <= kLeastDeterminant || after <= kLeastDeterminant) return 0;
    return __builtin_sqrt(before / (after + 1e-6) + 1e-6);
  }

  // 3DGS's radius: ceil(3 sqrt(largest eigenvalue)), the eigenvalues at least sqrt(0.1) from their mean.
  MOEGS_BOTH double radius() const {
    const double middle = (xx + yy) / 2;
    const double spread = middle * middle - after;
    return __builtin_ceil(3 * __builtin_sqrt(middle + __builtin_sqrt(spread > 0.1 ? spread : 0.1)));
  }
};

}  // namespace moegs::MOEGS_ISA
