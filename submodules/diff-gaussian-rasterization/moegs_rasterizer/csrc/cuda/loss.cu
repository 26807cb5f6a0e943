// L1 and SSIM of two images in one pass, and their gradient in another: losses/structural_similarity_fused.py has the
// formulas. A block filters a square of pixels with the window's two halves, along rows and then along columns.
#include "device.cuh"
#include "images.h"

namespace moegs {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;
constexpr int kSide = 32, kRadius = 5, kReach = kSide + 2 * kRadius;  // pixels of a block, and that it reads
constexpr int kLossSums = 2;                                          // of |a - b| and of SSIM
constexpr float kC1 = 0.01f * 0.01f, kC2 = 0.03f * 0.03f;

// The 11 weights of a Gaussian of sigma 1.5, from the centre outwards; their sum on both sides is 1.
__device__ constexpr float kWindow[kRadius + 1] = {0.266011725f,  0.213005538f,   0.10936069f,
                                                   0.0360007721f, 0.00759875814f, 0.00102838008f};

// Where a block works.
struct Square {
  int column, row;  // its first pixel
  int64_t plane;    // where its plane begins

  __device__ __forceinline__ Square(int height, int width) {
    const int across = (width + kSide - 1) / kSide, down = (height + kSide - 1) / kSide;
    const int square = blockIdx.x % (across * down);
    column = square % across * kSide;
    row = square / across * kSide;
    plane = int64_t(blockIdx.x) / (across * down) * height * width;
  }
};

// Maps around a block, zeros outside of the image, and filtered along rows.
template <int kRead, int kMaps>
struct Filter {
  float read[kRead][kReach][kReach];
  float across[kMaps][kReach][kSide];

  __device__ void load(int map, const float* from, const Square& square, int height, int width) {
    for (int k = threadIdx.x; k < kReach * kReach; k += kThreads) {
      const int row = square.row + k / kReach - kRadius, column = square.column + k % kReach - kRadius;
      const bool inside = row >= 0 && row < height && column >= 0 && column < width;
      read[map][k / kReach][k % kReach] = inside ? from[square.plane + int64_t(row) * width + column] : 0.0f;
    }
  }

  // Filters along a column what `across` holds.
  __device__ __forceinline__ float down(int map, int row, int column) const {
    float sum = kWindow[0] * across[map][row + kRadius][column];
#pragma unroll
    for (int k = 1; k <= kRadius; ++k)
      sum = fmaf(kWindow[k], across[map][row + kRadius - k][column] + across[map][row + kRadius + k][column], sum);
    return sum;
  }
};

// Adds up a value of all threads of a block, in thread 0.
__device__ double block_sum(double value, double* shared) {
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2)
    value += __shfl_sync(kAllLanes, value, (threadIdx.x % kWarp) ^ step);
  __syncthreads();
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = value;
  __syncthreads();
  double sum = 0;
  for (int warp = 0; warp < kWarps; ++warp) sum += shared[warp];
  return sum;
}

__global__ void __launch_bounds__(kThreads) loss_kernel(const __grid_constant__ LossCall call) {
  __shared__ Filter<2, 4> filter;
  __shared__ double shared[kWarps];
  const Square square(call.height, call.width);
  filter.load(0, call.a, square, call.height, call.width);
  filter.load(1, call.b, square, call.height, call.width);
  __syncthreads();
  for (int k = threadIdx.x; k < kReach * kSide; k += kThreads) {
    const int row = k / kSide, column = k % kSide;
    float a = 0, b = 0, product = 0, square_sum = 0;
#pragma unroll
    for (int tap = 0; tap <= 2 * kRadius; ++tap) {
      const float weight = kWindow[tap < kRadius ? kRadius - tap : tap - kRadius];
      const float x = filter.read[0][row][column + tap], y = filter.read[1][row][column + tap];
      a = fmaf(weight, x, a);
      b = fmaf(weight, y, b);
      product = fmaf(weight, x * y, product);
      square_sum = fmaf(weight, 0.5f * fmaf(x, x, y * y), square_sum);
    }
    filter.across[0][row][column] = a;
    filter.across[1][row][column] = b;
    filter.across[2][row][column] = product;
    filter.across[3][row][column] = square_sum;
  }
  __syncthreads();
  double sums[kLossSums] = {};
  const int64_t pixels = int64_t(call.count) * call.height * call.width;
  for (int k = threadIdx.x; k < kSide * kSide; k += kThreads) {
    const int row = k / kSide, column = k % kSide;
    if (square.row + row >= call.height || square.column + column >= call.width) continue;
    const float a = filter.down(0, row, column), b = filter.down(1, row, column);
    const float brightness = 0.5f * fmaf(a, a, b * b) + kC1 / 2, means = a * b;
    const float luminance = (means + kC1 / 2) / brightness;
    const float contrast = filter.down(3, row, column) - 0.5f * fmaf(a, a, b * b) + kC2 / 2;
    const float structure = (filter.down(2, row, column) - means + kC2 / 2) / contrast;
    sums[0] += double(fabsf(filter.read[0][row + kRadius][column + kRadius] -
                            filter.read[1][row + kRadius][column + kRadius]));
    sums[1] += double(luminance * structure);
    if (!call.slopes) continue;
    const int64_t at = square.plane + int64_t(square.row + row) * call.width + square.column + column;
    const float to_product = luminance / contrast, from_square = structure * to_product;
    const float by_brightness = structure / brightness;
    call.slopes[at] = to_product;
    call.slopes[pixels + at] = from_square;
    call.slopes[2 * pixels + at] = b * (by_brightness - to_product) + a * (from_square - luminance * by_brightness);
  }
  for (int which = 0; which < kLossSums; ++which) {
    const double sum = block_sum(sums[which], shared);
    if (threadIdx.x == 0) call.scratch[kLossSums * int64_t(blockIdx.x) + which] = sum;
  }
}

// Adds up what the blocks found.
__global__ void __launch_bounds__(kThreads) loss_sum_kernel(const __grid_constant__ LossCall call, int blocks) {
  __shared__ double shared[kWarps];
  double sums[kLossSums] = {};
  for (int block = threadIdx.x; block < blocks; block += kThreads) {
    for (int which = 0; which < kLossSums; ++which) sums[which] += call.scratch[kLossSums * int64_t(block) + which];
  }
  const double difference = block_sum(sums[0], shared), ssim = block_sum(sums[1], shared);
  const double count = double(call.count) * call.height * call.width;
  if (threadIdx.x == 0) call.loss[0] = float(call.l1 * difference / count + call.dssim * (1 - ssim / count));
}

__global__ void __launch_bounds__(kThreads) loss_backward_kernel(const __grid_constant__ LossBackwardCall call) {
  __shared__ Filter<1, 3> filter;
  const Square square(call.height, call.width);
  const int64_t pixels = int64_t(call.count) * call.height * call.width;
  for (int map = 0; map < 3; ++map) {
    __syncthreads();
    filter.load(0, call.slopes + map * pixels, square, call.height, call.width);
    __syncthreads();
    for (int k = threadIdx.x; k < kReach * kSide; k += kThreads) {
      const int row = k / kSide, column = k % kSide;
      float sum = 0;
#pragma unroll
      for (int tap = 0; tap <= 2 * kRadius; ++tap)
        sum = fmaf(kWindow[tap < kRadius ? kRadius - tap : tap - kRadius], filter.read[0][row][column + tap], sum);
      filter.across[map][row][column] = sum;
    }
  }
  __syncthreads();
  const float factor = call.of_loss[0] / float(pixels);
  for (int k = threadIdx.x; k < kSide * kSide; k += kThreads) {
    const int row = k / kSide, column = k % kSide;
    if (square.row + row >= call.height || square.column + column >= call.width) continue;
    const int64_t at = square.plane + int64_t(square.row + row) * call.width + square.column + column;
    const float a = call.a[at], b = call.b[at];
    const float of_product = filter.down(0, row, column), of_square = filter.down(1, row, column);
    const float of_ssim = filter.down(2, row, column) + b * of_product - a * of_square;
    const float of_l1 = a > b ? call.l1 : a < b ? -call.l1 : 0.0f;
    call.of_a[at] = factor * (of_l1 - call.dssim * of_ssim);
  }
}

int blocks_of(int count, int height, int width) {
  return count * ((height + kSide - 1) / kSide) * ((width + kSide - 1) / kSide);
}

}  // namespace

int64_t loss_scratch_doubles(int count, int height, int width) {
  return int64_t(kLossSums) * blocks_of(count, height, width);
}

void photometric(const LossCall& call, Stream stream) {
  const int blocks = blocks_of(call.count, call.height, call.width);
  launch("comparing images", loss_kernel, blocks, kThreads, 0, stream_of(stream), call);
  launch("adding up the loss", loss_sum_kernel, 1, kThreads, 0, stream_of(stream), call, blocks);
}

void photometric_backward(const LossBackwardCall& call, Stream stream) {
  launch("going back through the loss", loss_backward_kernel, blocks_of(call.count, call.height, call.width), kThreads,
         0, stream_of(stream), call);
}

}  // namespace moegs
