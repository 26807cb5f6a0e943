// From what pixels added up to gradients of the 2D Gaussians: ../gather.cpp, one thread a Gaussian.
#include <cub/device/device_radix_sort.cuh>

#include <algorithm>

#include "device.cuh"

namespace moegs {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) gather_kernel(const __grid_constant__ GatherCall call) {
  const int g = blockIdx.x * kThreads + threadIdx.x;
  if (g >= call.first[call.count]) return;
  const int layer_index = layer_of(call.first, call.count, g);
  const GatherLayer& to = call.layer[layer_index];
  if (!to.asked) return;
  const int64_t row = g - call.first[layer_index];
  const float* sums = call.sums + int64_t(g) * call.sum_stride;
  const int from_colours = call.linear ? 0 : to.colour_channels, channels = from_colours + to.feature_channels;
  const int width = pass_floats(kValuesPerPass, call.linear), first = call.linear ? 0 : kMoments;
  float looked[2] = {0, 0};  // NaN where a gradient of colours or features is NaN or infinite
  for (int channel = 0; channel < channels; ++channel) {
    const float sum = sums[channel / kValuesPerPass * width + first + channel % kValuesPerPass];
    if (channel >= from_colours) {
      to.features[row * to.feature_channels + channel - from_colours] = sum;
      looked[1] = fmaf(sum, 0.0f, looked[1]);
    } else {
      to.colours[row * to.colour_channels + channel] = sum;
      looked[0] = fmaf(sum, 0.0f, looked[0]);
    }
  }
  if (!(looked[0] == 0 && looked[1] == 0) && call.status[layer_index] == kNoFault) {
    report(to.faults, kBadColours, looked[0] == 0);
    report(to.faults, kBadFeatures, looked[1] == 0);
  }
  if (call.linear) return;
  float m[kMoments] = {};
  for (int start = 0; start == 0 || start < channels; start += kValuesPerPass) {
    for (int k = 0; k < kMoments; ++k) m[k] += sums[start / kValuesPerPass * width + k];
  }
  // Of ln alpha = ln o - (xx dx^2 + 2 xy dx dy + yy dy^2) / 2, with dx and dy from the mean to the pixel.
  const float4 conic = load4(to.conics + 4 * row);
  to.means2d[2 * row] = conic.x * m[1] + conic.y * m[2];
  to.means2d[2 * row + 1] = conic.y * m[1] + conic.z * m[2];
  store4(to.conic_gradients + 4 * row,
         make_float4(-0.5f * m[3], -m[4], -0.5f * m[5], conic.w > 0 ? m[0] / conic.w : 0.0f));
}

__global__ void look_kernel(const float* gradient, int count, const __grid_constant__ GradientFaults faults) {
  if (int(threadIdx.x) < count) report(faults, kBadBackground, is_finite(gradient[threadIdx.x]));
}

// ends[row] one behind the last of the row's instances, begins[row] the first, in `rows` sorted.
__global__ void __launch_bounds__(kThreads)
bounds_kernel(const int32_t* rows, int64_t instances, int32_t* begins, int32_t* ends) {
  const int64_t k = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (k >= instances) return;
  if (k == 0 || rows[k - 1] != rows[k]) begins[rows[k]] = int32_t(k);
  if (k + 1 == instances || rows[k + 1] != rows[k]) ends[rows[k]] = int32_t(k) + 1;
}

__global__ void __launch_bounds__(kThreads)
add_kernel(const __grid_constant__ OrderedCall call, const int32_t* places, const int32_t* begins,
           const int32_t* ends) {
  const int64_t item = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t row = item / call.stride;
  const int column = int(item % call.stride);
  if (row >= call.rows) return;
  float sum = 0;
  for (int32_t k = begins[row]; k < ends[row]; ++k) sum += call.by_instance[int64_t(places[k]) * call.stride + column];
  call.sums[item] = sum;
}

__global__ void __launch_bounds__(kThreads) count_kernel(int32_t* places, int64_t count) {
  const int64_t k = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (k < count) places[k] = int32_t(k);
}

size_t aligned(size_t bytes) { return (bytes + 255) / 256 * 256; }

int row_bits(int64_t rows) {
  int bits = 1;
  while ((int64_t(1) << bits) < rows) ++bits;
  return bits;
}

size_t sort_bytes(int64_t instances, int64_t rows) {
  size_t bytes = 0;
  cub::DeviceRadixSort::SortPairs(nullptr, bytes, (uint32_t*)nullptr, (uint32_t*)nullptr, (int32_t*)nullptr,
                                  (int32_t*)nullptr, int(instances), 0, row_bits(rows));
  return bytes;
}

}  // namespace

void gather(const GatherCall& call, Stream stream) {
  const int rows = call.first[call.count];
  if (rows == 0) return;
  launch("gathering gradients", gather_kernel, blocks_for(rows, kThreads), kThreads, 0, stream_of(stream), call);
}

void look_at(const float* gradient, int64_t count, const GradientFaults& faults, Stream stream) {
  for (int64_t first = 0; first < count; first += kThreads) {
    const int here = int(std::min<int64_t>(kThreads, count - first));
    launch("looking at a gradient", look_kernel, 1, kThreads, 0, stream_of(stream), gradient + first, here, faults);
  }
}

size_t ordered_scratch_bytes(int64_t instances, int64_t rows) {
  return 3 * aligned(instances * sizeof(int32_t)) + 2 * aligned(rows * sizeof(int32_t)) + sort_bytes(instances, rows);
}

void add_in_order(const OrderedCall& call, Stream stream) {
  if (call.rows == 0 || call.instances == 0 || call.stride == 0) return;
  char* next = call.scratch;
  const auto take = [&](int64_t count) {
    int32_t* place = reinterpret_cast<int32_t*>(next);
    next += aligned(count * sizeof(int32_t));
    return place;
  };
  int32_t *places = take(call.instances), *sorted_places = take(call.instances), *sorted = take(call.instances);
  int32_t *begins = take(call.rows), *ends = take(call.rows);
  size_t bytes = sort_bytes(call.instances, call.rows);
  const cudaStream_t on = stream_of(stream);
  const int blocks = blocks_for(call.instances, kThreads);
  launch("counting instances", count_kernel, blocks, kThreads, 0, on, places, call.instances);
  check(cub::DeviceRadixSort::SortPairs(next, bytes, reinterpret_cast<const uint32_t*>(call.listed),
                                        reinterpret_cast<uint32_t*>(sorted), places, sorted_places,
                                        int(call.instances), 0, row_bits(call.rows), on),
        "sorting instances by Gaussian");
  check(cudaMemsetAsync(begins, 0, (char*)next - (char*)begins, on), "clearing bounds");
  launch("finding instances", bounds_kernel, blocks, kThreads, 0, on, sorted, call.instances, begins, ends);
  launch("adding up instances", add_kernel, blocks_for(call.rows * call.stride, kThreads), kThreads, 0, on, call,
         sorted_places, begins, ends);
}

}  // namespace moegs
