// The chain rule through project.h: exact derivatives, also where the Jacobian's clamp and the compensation act.
#pragma once

#include "geometry.h"
#include "spherical_harmonics.h"

namespace moegs::MOEGS_ISA {

// From the gradients of conic and effective opacity to those of V = (v0, v1); returns the opacity's own.
MOEGS_BOTH double conic_backward(const View& view, const Footprint& f, double opacity, const float* g, double* g_v0,
                             double* g_v1) {
  const double over = 1 / f.after;
  double g_xx = g[2] * over, g_xy = -g[1] * over, g_yy = g[0] * over;
  double g_after = -(g[0] * f.yy - g[1] * f.xy + g[2] * f.xx) * over * over;
  double g_before = 0, factor = 1;
  if (view.compensate != 0) {
    factor = f.compensation();
    if (factor > 0) {
      const double g_ratio = g[3] * opacity / (2 * factor);
      g_before = g_ratio / (f.after + 1e-6);
      g_after -= g_ratio * f.before / ((f.after + 1e-6) * (f.after + 1e-6));
    }
  }
  g_xx += view.low_pass * g_after;
  g_yy += view.low_pass * g_after;
  g_before += g_after;
  double by_v0[3], by_v1[3];  // of before = |v0 x v1|^2, halved
  cross(f.v1, f.normal, by_v0);
  cross(f.normal, f.v0, by_v1);
  for (int k = 0; k < 3; ++k) {
    g_v0[k] = 2 * g_xx * f.v0[k] + g_xy * f.v1[k] + 2 * g_before * by_v0[k];
    g_v1[k] = 2 * g_yy * f.v1[k] + g_xy * f.v0[k] + 2 * g_before * by_v1[k];
  }
  return g[3] * factor;
}

// Adds to g_point[3] what reaches the camera point through one row of the Jacobian,
// row[k] = focal / z * (w_axis[k] - slope * w_z[k]).
MOEGS_BOTH void jacobian_backward(const double* g_row, const double* w_axis, const double* w_z, double focal,
                                  double slope, bool clamped, const double* point, int axis, double* g_point) {
  const double z = point[2];
  const double g_axis = dot(g_row, w_axis), g_z = dot(g_row, w_z);
  g_point[2] -= focal / (z * z) * (g_axis - slope * g_z);
  if (clamped) return;
  const double g_slope = -focal / z * g_z;
  g_point[axis] += g_slope / z;
  g_point[2] -= g_slope * slope / z;
}

MOEGS_BOTH void means2d_backward(const View& view, const Pinhole& pinhole, const double* point, const float* g,
                                 double* g_point) {
  const double over = 1 / (point[2] + kDepthGuard);
  const double g_x = g[0] * view.width / 2, g_y = g[1] * view.height / 2;
  const double x = (pinhole.x_by_x * point[0] + pinhole.x_by_z * point[2]) * over;
  const double y = (pinhole.y_by_y * point[1] + pinhole.y_by_z * point[2]) * over;
  g_point[0] += g_x * pinhole.x_by_x * over;
  g_point[1] += g_y * pinhole.y_by_y * over;
  g_point[2] += (g_x * (pinhole.x_by_z - x) + g_y * (pinhole.y_by_z - y)) * over;
}

// Row is a place for one row of gradients, as PlainRow below.
template <typename Row>
MOEGS_BOTH void footprint_backward(const View& view, const Pinhole& pinhole, const GaussianRow& in, const double* point,
                                   const float* g_conic, Row& out, double* g_point) {
  const float *scale = in.scale, *quat = in.quat;
  const Footprint f(view, pinhole, point, scale, quat);
  double g_v0[3], g_v1[3];
  out.opacity(float(conic_backward(view, f, in.opacity, g_conic, g_v0, g_v1)));
  double g_matrix[9], g_row0[3] = {0, 0, 0}, g_row1[3] = {0, 0, 0};
  for (int k = 0; k < 3; ++k) {
    out.scale(k, float(g_v0[k] * f.axes0[k] + g_v1[k] * f.axes1[k]));
    const double g_axis0 = g_v0[k] * scale[k], g_axis1 = g_v1[k] * scale[k];
    for (int j = 0; j < 3; ++j) {
      g_matrix[3 * j + k] = g_axis0 * f.jacobian0[j] + g_axis1 * f.jacobian1[j];
      g_row0[j] += g_axis0 * f.matrix[3 * j + k];
      g_row1[j] += g_axis1 * f.matrix[3 * j + k];
    }
  }
  float g_quat[4];
  quaternion_matrix_backward(quat, g_matrix, g_quat);
  out.quat(g_quat[0], g_quat[1], g_quat[2], g_quat[3]);
  const double* w = view.rotation;
  jacobian_backward(g_row0, w, w + 6, view.fx, f.slope_x, f.clamped_x, point, 0, g_point);
  jacobian_backward(g_row1, w + 3, w + 6, view.fy, f.slope_y, f.clamped_y, point, 1, g_point);
}

MOEGS_BOTH bool any(const float* values, int count) {
  for (int k = 0; k < count; ++k) {
    if (values[k] != 0) return true;
  }
  return false;
}

MOEGS_BOTH void zero(float* values, int64_t count) {
  for (int64_t k = 0; k < count; ++k) values[k] = 0;
}

// Row i of every gradient but that of sh; g_mean[3] holds what the colour adds to the mean's. Rows of Gaussians that
// were culled, or that no pixel asked about, become zeros.
template <typename Row>
MOEGS_BOTH void shape_backward(const View& view, const Pinhole& pinhole, const GaussianRow& in, int64_t i, bool seen,
                               const ProjectedGradients& given, Row& out, double* g_mean) {
  const bool by_mean = seen && given.means2d && any(given.means2d + 2 * i, 2);
  const bool by_conic = seen && given.conics && any(given.conics + 4 * i, 4);
  double g_point[3] = {0, 0, 0}, point[3];
  camera_point(view, in.mean, point);
  if (by_mean) means2d_backward(view, pinhole, point, given.means2d + 2 * i, g_point);
  if (by_conic) {
    footprint_backward(view, pinhole, in, point, given.conics + 4 * i, out, g_point);
  } else {
    for (int k = 0; k < 3; ++k) out.scale(k, 0);
    out.quat(0, 0, 0, 0);
    out.opacity(0);
  }
  const double* w = view.rotation;
  for (int k = 0; k < 3; ++k) {
    g_mean[k] += w[k] * g_point[0] + w[3 + k] * g_point[1] + w[6 + k] * g_point[2];
    out.mean(k, float(g_mean[k]));
  }
}

// Puts row i where it belongs.
struct PlainRow {
  const GaussianGradients& to;
  int64_t i;

  MOEGS_BOTH void mean(int k, float value) const { to.means[3 * i + k] = value; }
  MOEGS_BOTH void scale(int k, float value) const { to.scales[3 * i + k] = value; }
  MOEGS_BOTH void quat(float w, float x, float y, float z) const {
    float* const row = to.quats + 4 * i;
    row[0] = w, row[1] = x, row[2] = y, row[3] = z;
  }
  MOEGS_BOTH void opacity(float value) const { to.opacities[i] = value; }
};

// Rows [begin, end) of every gradient.
inline void project_backward(const View& view, const Gaussians& in, int64_t begin, int64_t end, const int32_t* radii,
                             const ProjectedGradients& given, const GaussianGradients& out) {
  const Pinhole pinhole = pinhole_of(view);
  const int sh_floats = 3 * in.sh_count;
  for (int64_t i = begin; i < end; ++i) {
    const bool seen = radii[i] > 0;
    double g_mean[3] = {0, 0, 0};
    if (seen && in.sh && given.colours && any(given.colours + 3 * i, 3)) {
      sh_colour_backward(view.centre, in.means + 3 * i, in.sh + sh_floats * i, in.sh_count, given.colours + 3 * i,
                         out.sh + sh_floats * i, g_mean);
    } else if (in.sh) {
      zero(out.sh + sh_floats * i, sh_floats);
    }
    PlainRow row{out, i};
    shape_backward(view, pinhole, row_of(in, i), i, seen, given, row, g_mean);
  }
}

}  // namespace moegs::MOEGS_ISA
