// Real spherical harmonics up to degree 3 in 3DGS's order and signs, and their derivatives by the direction.
#pragma once

#include "layout.h"
#include "portable.h"

namespace moegs::MOEGS_ISA {

constexpr int kMostHarmonics = 16;

// values[count] in the unit direction (x, y, z). The second- and third-degree terms are written as in 3DGS, as
// polynomials in x, y, z; sh_slopes differentiates these polynomials.
MOEGS_BOTH void sh_basis(float x, float y, float z, int count, float* values) {
  values[0] = 0.28209479177387814f;
  if (count <= 1) return;
  constexpr float c1 = 0.4886025119029199f;
  values[1] = -c1 * y;
  values[2] = c1 * z;
  values[3] = -c1 * x;
  if (count <= 4) return;
  const float xx = x * x, yy = y * y, zz = z * z;
  values[4] = 1.0925484305920792f * x * y;
  values[5] = -1.0925484305920792f * y * z;
  values[6] = 0.31539156525252005f * (2 * zz - xx - yy);
  values[7] = -1.0925484305920792f * x * z;
  values[8] = 0.5462742152960396f * (xx - yy);
  if (count <= 9) return;
  values[9] = -0.5900435899266435f * y * (3 * xx - yy);
  values[10] = 2.890611442640554f * x * y * z;
  values[11] = -0.4570457994644658f * y * (4 * zz - xx - yy);
  values[12] = 0.3731763325901154f * z * (2 * zz - 3 * xx - 3 * yy);
  values[13] = -0.4570457994644658f * x * (4 * zz - xx - yy);
  values[14] = 1.445305721320277f * z * (xx - yy);
  values[15] = -0.5900435899266435f * x * (xx - 3 * yy);
}

// Adds sum over i of weights[i] * d values[i] / d (x, y, z) to slope[3].
MOEGS_BOTH void sh_slopes(float x, float y, float z, int count, const float* weights, float* slope) {
  if (count <= 1) return;
  constexpr float c1 = 0.4886025119029199f;
  const float* w = weights;
  float dx = -c1 * w[3], dy = -c1 * w[1], dz = c1 * w[2];
  if (count > 4) {
    const float w4 = 1.0925484305920792f * w[4], w5 = -1.0925484305920792f * w[5], w6 = 0.31539156525252005f * w[6];
    const float w7 = -1.0925484305920792f * w[7], w8 = 0.5462742152960396f * w[8];
    dx += w4 * y - 2 * w6 * x + w7 * z + 2 * w8 * x;
    dy += w4 * x + w5 * z - 2 * w6 * y - 2 * w8 * y;
    dz += w5 * y + 4 * w6 * z + w7 * x;
  }
  if (count > 9) {
    const float xx = x * x, yy = y * y, zz = z * z, xy = x * y, xz = x * z, yz = y * z;
    const float w9 = -0.5900435899266435f * w[9], w10 = 2.890611442640554f * w[10], w11 = -0.4570457994644658f * w[11];
    const float w12 = 0.3731763325901154f * w[12], w13 = -0.4570457994644658f * w[13];
    const float w14 = 1.445305721320277f * w[14], w15 = -0.5900435899266435f * w[15];
    const float ring = 4 * zz - xx - yy;
    dx += 6 * w9 * xy + w10 * yz - 2 * w11 * xy - 6 * w12 * xz + w13 * (ring - 2 * xx) + 2 * w14 * xz +
          3 * w15 * (xx - yy);
    dy += 3 * w9 * (xx - yy) + w10 * xz + w11 * (ring - 2 * yy) - 6 * w12 * yz - 2 * w13 * xy - 2 * w14 * yz -
          6 * w15 * xy;
    dz += w10 * xy + 8 * w11 * yz + w12 * (6 * zz - 3 * xx - 3 * yy) + 8 * w13 * xz + w14 * (xx - yy);
  }
  slope[0] += dx;
  slope[1] += dy;
  slope[2] += dz;
}

// Unit direction from the camera's centre to the mean; returns the distance.
MOEGS_BOTH double sh_direction(const double* centre, const float* mean, double* direction) {
  for (int i = 0; i < 3; ++i) direction[i] = mean[i] - centre[i];
  const double distance =
      __builtin_sqrt(direction[0] * direction[0] + direction[1] * direction[1] + direction[2] * direction[2]);
  for (int i = 0; i < 3; ++i) direction[i] /= distance;
  return distance;
}

// colour[3] = max(0, SH(direction) + 1/2), no upper limit (3DGS).
MOEGS_BOTH void sh_colour(const double* centre, const float* mean, const float* sh, int count, float* colour) {
  double direction[3];
  sh_direction(centre, mean, direction);
  float basis[kMostHarmonics];
  sh_basis(float(direction[0]), float(direction[1]), float(direction[2]), count, basis);
  float total[3] = {0.5f, 0.5f, 0.5f};
  for (int i = 0; i < count; ++i) {
    for (int channel = 0; channel < 3; ++channel) total[channel] += basis[i] * sh[3 * i + channel];
  }
  for (int channel = 0; channel < 3; ++channel) colour[channel] = total[channel] > 0 ? total[channel] : 0.0f;
}

// Writes sh_gradient[count, 3] and adds what reaches the mean through the direction to mean_gradient[3].
MOEGS_BOTH void sh_colour_backward(const double* centre, const float* mean, const float* sh, int count,
                               const float* colour_gradient, float* sh_gradient, double* mean_gradient) {
  double direction[3];
  const double distance = sh_direction(centre, mean, direction);
  const float x = float(direction[0]), y = float(direction[1]), z = float(direction[2]);
  float basis[kMostHarmonics];
  sh_basis(x, y, z, count, basis);
  float total[3] = {0.5f, 0.5f, 0.5f};
  for (int i = 0; i < count; ++i) {
    for (int channel = 0; channel < 3; ++channel) total[channel] += basis[i] * sh[3 * i + channel];
  }
  float given[3];
  for (int channel = 0; channel < 3; ++channel) given[channel] = total[channel] >= 0 ? colour_gradient[channel] : 0.0f;
  float weights[kMostHarmonics];
  for (int i = 0; i < count; ++i) {
    weights[i] = 0;
    for (int channel = 0; channel < 3; ++channel) {
      sh_gradient[3 * i + channel] = basis[i] * given[channel];
      weights[i] += sh[3 * i + channel] * given[channel];
    }
  }
  float slope[3] = {0, 0, 0};
  sh_slopes(x, y, z, count, weights, slope);
  // Derivative of normalising: what points along the direction does not change it.
  const double along = direction[0] * slope[0] + direction[1] * slope[1] + direction[2] * slope[2];
  for (int i = 0; i < 3; ++i) mean_gradient[i] += (slope[i] - direction[i] * along) / distance;
}

}  // namespace moegs::MOEGS_ISA
