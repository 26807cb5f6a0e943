// The router's head, its softmax and the blended image in one pass over the pixels, and the way back in another.
#include <type_traits>

#include "device.cuh"
#include "images.h"

namespace moegs {
namespace {

constexpr int kThreads = 128, kWarps = kThreads / kWarp;
constexpr int kMostBlocks = 1024;  // of the way back: it does not follow the GPU, so that every one adds up the same

// The head's weights, the rays' zero where it sees none.
struct Weights {
  float first[kFirst][kSplatted + kRay], second[kSecond][kFirst], third[kSecond];
};

__device__ void load_weights(const GatesCall& call, Weights& to) {
  const int inputs = call.rays ? kSplatted + kRay : kSplatted;
  for (int k = threadIdx.x; k < kFirst * (kSplatted + kRay); k += kThreads) {
    const int row = k / (kSplatted + kRay), column = k % (kSplatted + kRay);
    to.first[row][column] = column < inputs ? call.first[row * inputs + column] : 0.0f;
  }
  for (int k = threadIdx.x; k < kSecondWeights; k += kThreads) to.second[k / kFirst][k % kFirst] = call.second[k];
  for (int k = threadIdx.x; k < kSecond; k += kThreads) to.third[k] = call.third[k];
  __syncthreads();
}

// A pixel's ray, and what it adds to the first layer, the same for all experts.
struct Ray {
  float values[kRay], added[kFirst];

  __device__ __forceinline__ Ray(const GatesCall& call, const Weights& weights, int64_t at) {
#pragma unroll
    for (int k = 0; k < kRay; ++k) values[k] = call.rays ? call.rays[k * call.pixels + at] : 0.0f;
#pragma unroll
    for (int row = 0; row < kFirst; ++row) {
      added[row] = 0;
#pragma unroll
      for (int k = 0; k < kRay; ++k) added[row] = fmaf(weights.first[row][kSplatted + k], values[k], added[row]);
    }
  }
};

__device__ __forceinline__ float relu(float value) { return value < 0 ? 0.0f : value; }  // NaN stays

// One expert's values in the head's layers at a pixel.
struct Layers {
  float seen[kSplatted], first[kFirst], second[kSecond], logit;

  __device__ __forceinline__ Layers(const float* features, const Weights& weights, const Ray& ray, int64_t at,
                                    int64_t pixels) {
    logit = features[at];
#pragma unroll
    for (int k = 0; k < kSplatted; ++k) seen[k] = features[(1 + k) * pixels + at];
#pragma unroll
    for (int row = 0; row < kFirst; ++row) {
      float sum = ray.added[row];
#pragma unroll
      for (int k = 0; k < kSplatted; ++k) sum = fmaf(weights.first[row][k], seen[k], sum);
      first[row] = relu(sum);
    }
#pragma unroll
    for (int row = 0; row < kSecond; ++row) {
      float sum = 0;
#pragma unroll
      for (int k = 0; k < kFirst; ++k) sum = fmaf(weights.second[row][k], first[k], sum);
      second[row] = relu(sum);
      logit = fmaf(weights.third[row], second[row], logit);
    }
  }
};

template <int kExperts>
__global__ void __launch_bounds__(kThreads)
gates_kernel(const __grid_constant__ GatesCall call, const GatesImages made) {
  __shared__ Weights weights;
  load_weights(call, weights);
  const int64_t at = int64_t(blockIdx.x) * kThreads + threadIdx.x, pixels = call.pixels;
  if (at >= pixels) return;
  const Ray ray(call, weights, at);
  float logits[kExperts], most = -INFINITY;
#pragma unroll
  for (int e = 0; e < kExperts; ++e) {
    const float logit = Layers(call.features[e], weights, ray, at, pixels).logit;
    made.logits[e * pixels + at] = logit;
    logits[e] = logit / call.temperature;
    most = fmaxf(most, logits[e]);
  }
  float sum = 0, colour[3] = {0, 0, 0};
#pragma unroll
  for (int e = 0; e < kExperts; ++e) {
    logits[e] = expf(logits[e] - most);
    sum += logits[e];
  }
#pragma unroll
  for (int e = 0; e < kExperts; ++e) {
    const float gate = logits[e] / sum;
    made.gates[e * pixels + at] = gate;
#pragma unroll
    for (int k = 0; k < 3; ++k) colour[k] = fmaf(gate, call.images[(3 * e + k) * pixels + at], colour[k]);
  }
#pragma unroll
  for (int k = 0; k < 3; ++k) made.image[k * pixels + at] = colour[k];
}

// Gradients [kExperts] of a pixel's logits, through softmax and blend.
template <int kExperts>
__device__ __forceinline__ void logit_gradients(const GatesCall& call, const GatesGradients& made, int64_t at,
                                                float* found) {
  const int64_t pixels = call.pixels;
  float gates[kExperts], mean = 0, of_colour[3];
#pragma unroll
  for (int k = 0; k < 3; ++k) of_colour[k] = made.of_image ? made.of_image[k * pixels + at] : 0.0f;
#pragma unroll
  for (int e = 0; e < kExperts; ++e) {
    gates[e] = made.gates[e * pixels + at];
    found[e] = made.of_gates ? made.of_gates[e * pixels + at] : 0.0f;
#pragma unroll
    for (int k = 0; k < 3; ++k) found[e] = fmaf(of_colour[k], call.images[(3 * e + k) * pixels + at], found[e]);
    mean = fmaf(gates[e], found[e], mean);
  }
#pragma unroll
  for (int e = 0; e < kExperts; ++e) {
    found[e] = gates[e] * (found[e] - mean) / call.temperature;
    if (made.of_logits) found[e] += made.of_logits[e * pixels + at];
  }
}

// A thread's part of the gradients of the weights.
struct Sums {
  float first[kFirst][kSplatted + kRay], second[kSecond][kFirst], third[kSecond];
};

template <int kExperts>
__device__ __forceinline__ void add_pixel(const GatesCall& call, const GatesGradients& made, const Weights& weights,
                                          int64_t at, Sums& sums) {
  const int64_t pixels = call.pixels;
  const Ray ray(call, weights, at);
  float of_logits[kExperts], of_ray[kFirst] = {};
  logit_gradients<kExperts>(call, made, at, of_logits);
#pragma unroll
  for (int e = 0; e < kExperts; ++e) {
    const Layers layers(call.features[e], weights, ray, at, pixels);
    const float sent = of_logits[e];
    float of_first[kFirst] = {}, of_seen[kSplatted] = {};
#pragma unroll
    for (int row = 0; row < kSecond; ++row) {
      sums.third[row] = fmaf(sent, layers.second[row], sums.third[row]);
      const float of_second = layers.second[row] > 0 ? sent * weights.third[row] : 0.0f;
#pragma unroll
      for (int k = 0; k < kFirst; ++k) {
        sums.second[row][k] = fmaf(of_second, layers.first[k], sums.second[row][k]);
        of_first[k] = fmaf(of_second, weights.second[row][k], of_first[k]);
      }
    }
#pragma unroll
    for (int row = 0; row < kFirst; ++row) {
      const float of_row = layers.first[row] > 0 ? of_first[row] : 0.0f;
      of_ray[row] += of_row;
#pragma unroll
      for (int k = 0; k < kSplatted; ++k) {
        sums.first[row][k] = fmaf(of_row, layers.seen[k], sums.first[row][k]);
        of_seen[k] = fmaf(of_row, weights.first[row][k], of_seen[k]);
      }
    }
    float* to = made.of_features + 3 * e * pixels + at;
    to[0] = sent;
#pragma unroll
    for (int k = 0; k < kSplatted; ++k) to[(1 + k) * pixels] = of_seen[k];
  }
#pragma unroll
  for (int row = 0; row < kFirst; ++row) {
#pragma unroll
    for (int k = 0; k < kRay; ++k)
      sums.first[row][kSplatted + k] = fmaf(of_ray[row], ray.values[k], sums.first[row][kSplatted + k]);
  }
}

// The warp's sum of a value, in every lane.
__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2)
    value += __shfl_sync(kAllLanes, value, (threadIdx.x % kWarp) ^ step);
  return value;
}

template <int kExperts>
__global__ void __launch_bounds__(kThreads, 2)
gates_backward_kernel(const __grid_constant__ GatesCall call, const GatesGradients made, int blocks) {
  __shared__ Weights weights;
  __shared__ float parts[kWarps][kHeadWeights];
  load_weights(call, weights);
  Sums sums = {};
  for (int64_t at = int64_t(blockIdx.x) * kThreads + threadIdx.x; at < call.pixels; at += int64_t(blocks) * kThreads)
    add_pixel<kExperts>(call, made, weights, at, sums);
  const int warp = threadIdx.x / kWarp;
  const bool leads = threadIdx.x % kWarp == 0;
#pragma unroll
  for (int k = 0; k < kHeadWeights; ++k) {
    const int row = k / (kSplatted + kRay), behind = k - kFirstWeights;
    const float mine = k < kFirstWeights      ? sums.first[row][k % (kSplatted + kRay)]
                       : behind < kSecondWeights ? sums.second[behind / kFirst][behind % kFirst]
                                                 : sums.third[behind - kSecondWeights];
    const float sum = warp_sum(mine);
    if (leads) parts[warp][k] = sum;
  }
  __syncthreads();
  for (int k = threadIdx.x; k < kHeadWeights; k += kThreads) {
    float sum = 0;
    for (int other = 0; other < kWarps; ++other) sum += parts[other][k];
    made.scratch[int64_t(k) * blocks + blockIdx.x] = sum;
  }
}

// Adds up what the blocks found of each weight, a block a weight.
__global__ void __launch_bounds__(kThreads) gates_weights_kernel(const float* scratch, int blocks, float* of_weights) {
  __shared__ float parts[kWarps];
  float sum = 0;
  for (int k = threadIdx.x; k < blocks; k += kThreads) sum += scratch[int64_t(blockIdx.x) * blocks + k];
  sum = warp_sum(sum);
  if (threadIdx.x % kWarp == 0) parts[threadIdx.x / kWarp] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  float total = 0;
  for (int warp = 0; warp < kWarps; ++warp) total += parts[warp];
  of_weights[blockIdx.x] = total;
}

// Calls with the number of experts as a constant.
template <typename Work>
void with_experts(int experts, const Work& work) {
  switch (experts) {
    case 1: return work(std::integral_constant<int, 1>());
    case 2: return work(std::integral_constant<int, 2>());
    case 3: return work(std::integral_constant<int, 3>());
    case 4: return work(std::integral_constant<int, 4>());
    case 5: return work(std::integral_constant<int, 5>());
    case 6: return work(std::integral_constant<int, 6>());
    case 7: return work(std::integral_constant<int, 7>());
    case 8: return work(std::integral_constant<int, 8>());
    default: throw Failure("the gates' kernels take 1 to 8 experts");
  }
}

}  // namespace

int64_t gates_scratch_floats() { return int64_t(kHeadWeights) * kMostBlocks; }

void blend_gates(const GatesCall& call, const GatesImages& made, Stream stream) {
  with_experts(call.experts, [&](auto experts) {
    launch("blending by gates", gates_kernel<decltype(experts)::value>, blocks_for(call.pixels, kThreads), kThreads, 0,
           stream_of(stream), call, made);
  });
}

void blend_gates_backward(const GatesCall& call, const GatesGradients& made, Stream stream) {
  const int blocks = min(kMostBlocks, blocks_for(call.pixels, kThreads));
  with_experts(call.experts, [&](auto experts) {
    launch("going back through the gates", gates_backward_kernel<decltype(experts)::value>, blocks, kThreads, 0,
           stream_of(stream), call, made, blocks);
  });
  launch("adding up the head's gradients", gates_weights_kernel, kHeadWeights, kThreads, 0, stream_of(stream),
         static_cast<const float*>(made.scratch), blocks, made.of_weights);
}

}  // namespace moegs
