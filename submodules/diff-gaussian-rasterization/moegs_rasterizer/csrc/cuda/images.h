// What is done with the rasterized images, pixel by pixel: MoE-GS's router head with its gates, and the photometric
// loss. The readable versions are router/heads/head.py and router/mixture.py, and losses/photometric_loss.py.
#pragma once

#include "launch.h"

namespace moegs {

constexpr int kMostBlended = 8;  // experts; more take the readable version
constexpr int kFirst = 6, kSecond = 3, kSplatted = 2, kRay = 6;  // channels of the head: router/heads/head.py
constexpr int kFirstWeights = kFirst * (kSplatted + kRay), kSecondWeights = kSecond * kFirst;
constexpr int kHeadWeights = kFirstWeights + kSecondWeights + kSecond;

// Planes of `pixels` floats, channel by channel.
struct GatesCall {
  const float* features[kMostBlended];  // 3 each: base, directional, temporal
  const float* images;                  // [experts, 3]
  const float* rays;                    // 6; null for a head that sees none
  const float *first, *second, *third;  // weights [6, 8 or 2], [3, 6], [1, 3]
  int experts;
  int64_t pixels;
  float temperature;
};
struct GatesImages {
  float *image, *gates, *logits;  // 3, experts, experts
};
void blend_gates(const GatesCall& call, const GatesImages& made, Stream stream);

struct GatesGradients {
  const float* gates;                                       // as they were made
  const float *of_image, *of_gates, *of_logits;             // given; null where there are none
  float* of_features;                                       // [experts, 3]
  float* of_weights;                                        // [kHeadWeights]: first, second, third
  float* scratch;                                           // [gates_scratch_floats()]
};
int64_t gates_scratch_floats();
void blend_gates_backward(const GatesCall& call, const GatesGradients& made, Stream stream);

// The loss l1 |a - b| + dssim (1 - SSIM(a, b)), means over `count` planes of height x width.
struct LossCall {
  const float *a, *b;
  int count, height, width;
  float l1, dssim;
  float* slopes;    // [3, count, height, width] for the way back; null where nobody goes it
  double* scratch;  // [loss_scratch_doubles]
  float* loss;      // [1]
};
int64_t loss_scratch_doubles(int count, int height, int width);
void photometric(const LossCall& call, Stream stream);

struct LossBackwardCall {
  const float *a, *b, *slopes, *of_loss;
  int count, height, width;
  float l1, dssim;
  float* of_a;
};
void photometric_backward(const LossBackwardCall& call, Stream stream);

}  // namespace moegs
