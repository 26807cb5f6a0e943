// Compiled once for each instruction set, with MOEGS_ISA naming it and MOEGS_TABLE its table (compile/cpp_library.py).
// Nothing of the standard library is used here: the linker could keep the copy of a shared template that needs the
// newest processor.
#include "kernels.h"

#include "blend.h"
#include "blend_backward.h"
#include "project.h"
#include "project_backward.h"

namespace moegs {
namespace MOEGS_ISA {
namespace {

constexpr int kAnyCount = -1;

// Runs CALL<channels> with the channel counts of common layers known to the compiler, and one for all others.
#define MOEGS_BY_CHANNELS(CALL, count, ...)          \
  switch (count) {                                   \
    case 1: return CALL<1>(__VA_ARGS__);             \
    case 2: return CALL<2>(__VA_ARGS__);             \
    case 3: return CALL<3>(__VA_ARGS__);             \
    case 4: return CALL<4>(__VA_ARGS__);             \
    case 6: return CALL<6>(__VA_ARGS__);             \
    case 9: return CALL<9>(__VA_ARGS__);             \
    case 12: return CALL<12>(__VA_ARGS__);           \
    default: return CALL<kAnyCount>(__VA_ARGS__);    \
  }

// Up to three planes of a tile and one for each channel; then a vector for each channel.
int64_t scratch_floats(int channels) { return int64_t(channels + 3) * kTilePixels + channels * kLanes; }

void blend_any(const Blend& in, int64_t tile, float* scratch) {
  MOEGS_BY_CHANNELS(blend, in.channels, in, tile, scratch)
}

void blend_backward_any(const BlendGradients& in, int64_t tile, float* scratch, float* sums) {
  MOEGS_BY_CHANNELS(blend_backward, in.channels, in, tile, scratch, sums)
}

void blend_backward_linear_any(const BlendGradients& in, int64_t tile, float* scratch, float* sums) {
  MOEGS_BY_CHANNELS(blend_backward_linear, in.channels, in, tile, scratch, sums)
}

}  // namespace
}  // namespace MOEGS_ISA

const Kernels MOEGS_TABLE = {
    MOEGS_ISA::project,   MOEGS_ISA::project_backward,   MOEGS_ISA::scratch_floats,
    MOEGS_ISA::blend_any, MOEGS_ISA::blend_backward_any, MOEGS_ISA::blend_backward_linear_any,
};

}  // namespace moegs
