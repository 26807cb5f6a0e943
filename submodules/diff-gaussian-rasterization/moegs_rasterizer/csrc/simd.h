// A vector of floats as wide as the instruction set this file is compiled for, and the few operations blending needs.
// GCC's and Clang's vector types carry the arithmetic, so that it needs no flag to become vector code and runs on any
// processor. Intrinsics stand where those types have no word for it, or compilers miss the one instruction for it.
#pragma once

#include <cstdint>

#if defined(__AVX2__) || defined(__SSE2__)
#include <immintrin.h>
#endif

namespace moegs::MOEGS_ISA {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
constexpr uint32_t kAllLanes = (1u << kLanes) - 1;

typedef float Floats __attribute__((vector_size(kLanes * 4)));
typedef int32_t Ints __attribute__((vector_size(kLanes * 4)));

inline Floats splat(float value) { return value - Floats{}; }  // GCC and Clang both turn this into one broadcast
inline Floats load(const float* from) { return *reinterpret_cast<const Floats*>(from); }
inline void store(float* to, Floats value) { *reinterpret_cast<Floats*>(to) = value; }

#if defined(__AVX512F__)

typedef __mmask16 Mask;
inline Mask at_most(Floats a, Floats b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
inline Mask above(Floats a, Floats b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
inline Mask both(Mask a, Mask b) { return a & b; }
inline Floats select(Mask mask, Floats yes, Floats no) { return _mm512_mask_blend_ps(mask, no, yes); }
inline Floats where(Mask mask, Floats value) { return _mm512_maskz_mov_ps(mask, value); }  // 0 elsewhere
inline Floats negative_where(Mask mask, Floats value) {  // -|value| there
  return _mm512_mask_or_ps(value, mask, value, splat(-0.0f));
}
inline uint32_t bits(Mask mask) { return mask; }
inline uint32_t signs(Floats value) { return _mm512_movepi32_mask(_mm512_castps_si512(value)); }
inline Floats larger(Floats a, Floats b) { return _mm512_max_ps(a, b); }  // b where a is NaN
inline Floats smaller(Floats a, Floats b) { return _mm512_min_ps(a, b); }

#else

typedef Ints Mask;  // all ones or all zeros in each lane
inline Mask at_most(Floats a, Floats b) { return a <= b; }
inline Mask above(Floats a, Floats b) { return a > b; }
inline Mask both(Mask a, Mask b) { return a & b; }
inline Floats select(Mask mask, Floats yes, Floats no) { return mask ? yes : no; }
inline Floats where(Mask mask, Floats value) { return reinterpret_cast<Floats>(reinterpret_cast<Ints>(value) & mask); }
inline Floats negative_where(Mask mask, Floats value) {
  return reinterpret_cast<Floats>(reinterpret_cast<Ints>(value) | (mask & INT32_MIN));
}
#if defined(__AVX2__)
inline uint32_t signs(Floats value) { return _mm256_movemask_ps(value); }
inline Floats larger(Floats a, Floats b) { return _mm256_max_ps(a, b); }
inline Floats smaller(Floats a, Floats b) { return _mm256_min_ps(a, b); }
#elif defined(__SSE2__)
inline uint32_t signs(Floats value) { return _mm_movemask_ps(value); }
inline Floats larger(Floats a, Floats b) { return _mm_max_ps(a, b); }
inline Floats smaller(Floats a, Floats b) { return _mm_min_ps(a, b); }
#else
inline uint32_t signs(Floats value) {
  const Mask negative = reinterpret_cast<Ints>(value) < 0;
  return (negative[0] & 1) | (negative[1] & 2) | (negative[2] & 4) | (negative[3] & 8);
}
inline Floats larger(Floats a, Floats b) { return select(a > b, a, b); }
inline Floats smaller(Floats a, Floats b) { return select(a < b, a, b); }
#endif
inline uint32_t bits(Mask mask) { return signs(reinterpret_cast<Floats>(mask)); }

#endif

// 2^x for x in [-100, 0.49]. The polynomial is the minimax one of degree 5 on [-1/2, 1/2]: off by 8e-8 of the value.
inline Floats exp2(Floats x) {
  // Conversion truncates, which rounds to nearest once a half is taken off a number that is not positive.
  const Ints whole = __builtin_convertvector(x - 0.5f, Ints);
  const Floats f = x - __builtin_convertvector(whole, Floats);
  Floats p = f * 0.0013276472f + 0.0096755414f;
  p = p * f + 0.055507133f;
  p = p * f + 0.2402212f;
  p = p * f + 0.69314697f;
  p = p * f + 1.0000001f;
  return reinterpret_cast<Floats>(reinterpret_cast<Ints>(p) + (whole << 23));
}

#if defined(__AVX2__)

inline __m256 halved(Floats value) {  // 16 lanes added to 8
#if defined(__AVX512F__)
  return _mm256_add_ps(_mm512_castps512_ps256(value), _mm512_extractf32x8_ps(value, 1));
#else
  return value;
#endif
}

// Sums over the lanes of four vectors, in the same order as sum().
inline void write_four_sums(const Floats* v, float* to) {
  const __m256 pairs = _mm256_hadd_ps(_mm256_hadd_ps(halved(v[0]), halved(v[1])),
                                      _mm256_hadd_ps(halved(v[2]), halved(v[3])));
  _mm_storeu_ps(to, _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1)));
}

inline float sum(Floats value) {
  __m256 eight = halved(value);
  eight = _mm256_hadd_ps(eight, eight);
  eight = _mm256_hadd_ps(eight, eight);
  return _mm_cvtss_f32(_mm_add_ss(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1)));
}

#else

inline float sum(Floats value) { return (value[0] + value[1]) + (value[2] + value[3]); }

inline void write_four_sums(const Floats* v, float* to) {
  for (int i = 0; i < 4; ++i) to[i] = sum(v[i]);
}

#endif

}  // namespace moegs::MOEGS_ISA
