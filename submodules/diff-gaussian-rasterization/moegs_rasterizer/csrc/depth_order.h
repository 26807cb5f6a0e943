// Rows of a layer by depth.
#pragma once

#include <cstdint>
#include <vector>

namespace moegs {

// Rows i with listed[4 i + 2] > listed[4 i] (those that have tiles), nearest first; equal depths keep the order of
// rows. Depths must be positive. A radix sort, least significant digit first, on the bits of the floats, which are in
// the order of their values then; the 3DGS kernels sort by the same bits.
std::vector<int32_t> depth_order(const float* depths, const int32_t* listed, int64_t count);

}  // namespace moegs
