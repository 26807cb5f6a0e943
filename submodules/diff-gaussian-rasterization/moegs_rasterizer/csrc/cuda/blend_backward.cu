// Gradients of blending, front to back once more; ../blend_backward.h derives them. Transmittance and the scalar
// residual stay in registers; nothing was stored on the way forward. backward_part.cuh is the work of a warp.
#include "backward_part.cuh"

namespace moegs {
namespace {

// Layers of one launch: those with as many channels left.
struct Chosen {
  int layer[kMostLayers];
};

__host__ __device__ int channels_left(const BlendBackwardCall& call, int layer, int first_channel) {
  const BlendBackwardLayer& it = call.layer[layer];
  return (call.linear ? it.channels - it.colour_channels : it.channels) - first_channel;
}

// Not `kListed`: ends at once, unless the lists had too little room.
template <int kGroups, bool kLinear, bool kOrdered, bool kListed>
__global__ void __launch_bounds__(kTileThreads)
backward_kernel(const __grid_constant__ BlendBackwardCall call, const __grid_constant__ Chosen chosen,
                int first_channel) {
  MOEGS_DYNAMIC_SHARED(float4, memory);
  if (!kListed && call.lists.status[kMostLayers] <= static_cast<unsigned long long>(call.lists.capacity)) return;
  const int layer = chosen.layer[blockIdx.y];
  const Pass pass{&call.layer[layer],
                  &call.lists,
                  int(blockIdx.x),
                  first_channel,
                  first_channel / kValuesPerPass * pass_floats(kValuesPerPass, kLinear),
                  pass_floats(min(kValuesPerPass, channels_left(call, layer, first_channel)), kLinear)};
  using Shared = Memory<kGroups, kLinear, kOrdered>;
  Part<kGroups, kLinear, kOrdered, kListed>(call, pass, reinterpret_cast<Shared*>(memory)).run();
}

template <int kGroups, bool kLinear, bool kOrdered, bool kListed>
void launch_groups(const BlendBackwardCall& call, int first_channel, cudaStream_t stream) {
  Chosen chosen{};
  int count = 0;
  for (int layer = 0; layer < call.count; ++layer) {
    int groups = (channels_left(call, layer, first_channel) + 3) / 4;
    if (!kLinear && first_channel == 0) groups = max(groups, 1);  // alpha alone sends gradients too
    if (groups == kGroups || (kGroups == kValuesPerPass / 4 && groups > kGroups)) chosen.layer[count++] = layer;
  }
  if (count == 0) return;
  const Lists& lists = call.lists;
  const int tiles = ((lists.width + kTile - 1) / kTile) * ((lists.height + kTile - 1) / kTile);
  constexpr size_t bytes = kWarps * sizeof(Memory<kGroups, kLinear, kOrdered>);
  const auto kernel = backward_kernel<kGroups, kLinear, kOrdered, kListed>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes), "asking for shared memory");
  launch("blending backwards", kernel, dim3(tiles, count), kTileThreads, bytes, stream, call, chosen, first_channel);
}

template <bool kLinear, bool kOrdered, bool kListed>
void launch_all(const BlendBackwardCall& call, cudaStream_t stream) {
  int most = kLinear ? 0 : 1;
  for (int layer = 0; layer < call.count; ++layer) most = max(most, channels_left(call, layer, 0));
  for (int first = 0; first < most; first += kValuesPerPass) {
    launch_groups<1, kLinear, kOrdered, kListed>(call, first, stream);
    launch_groups<2, kLinear, kOrdered, kListed>(call, first, stream);
    launch_groups<3, kLinear, kOrdered, kListed>(call, first, stream);
    launch_groups<4, kLinear, kOrdered, kListed>(call, first, stream);
  }
}

}  // namespace

void blend_backward(const BlendBackwardCall& call, Stream stream) {
  const cudaStream_t on = stream_of(stream);
  if (call.linear) {
    (call.ordered ? launch_all<true, true, true> : launch_all<true, false, true>)(call, on);
  } else {
    (call.ordered ? launch_all<false, true, true> : launch_all<false, false, true>)(call, on);
  }
  if (call.unread) (call.linear ? launch_all<true, false, false> : launch_all<false, false, false>)(call, on);
}

}  // namespace moegs
