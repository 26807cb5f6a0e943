// What can be left out, one at a time, to measure what it is worth: docs/dev/rasterizer.md says how.
#pragma once

namespace moegs {

// Tiles of a Gaussian: those that its ellipse meets, or all of the ellipse's box.
#ifdef MOEGS_WITHOUT_EXACT_TILES
constexpr bool kExactTiles = false;
#else
constexpr bool kExactTiles = true;
#endif

// Warps skip Gaussians that do not reach their pixels.
#ifdef MOEGS_WITHOUT_WARP_CULLING
constexpr bool kWarpCulling = false;
#else
constexpr bool kWarpCulling = true;
#endif

// One sort of Gaussians by depth and one of instances by tile, or a single one of instances by both.
#ifdef MOEGS_WITHOUT_SEPARATE_SORTS
constexpr bool kSeparateSorts = false;
#else
constexpr bool kSeparateSorts = true;
#endif

}  // namespace moegs
