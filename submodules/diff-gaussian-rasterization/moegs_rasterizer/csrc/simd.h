// A vector of floats as wide as the instruction set this file is compiled for, and the few operations blending needs.
// GCC's and Clang's vector types carry the arithmetic; intrinsics stand only where those types have no word for it.
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

typedef float Floats __attribute__((vector_size(kLanes * 4)));
typedef int32_t Ints __attribute__((vector_size(kLanes * 4)));

inline Floats splat(float value) { return value - Floats{}; }  // GCC and Clang both turn this into one broadcast
inline Floats load(const float* from) { return *reinterpret_cast<const Floats*>(from); }
inline void store(float* to, Floats value) { *reinterpret_cast<Floats*>(to) = value; }

#if defined(__AVX512F__)

typedef __mmask16 Mask;
inline Mask at_most(Floats a, Floats b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
inline Mask both(Mask a, Mask b) { return a & b; }
inline Mask first_only(Mask a, Mask b) { return a & ~b; }
inline Floats select(Mask mask, Floats yes, Floats no) { return _mm512_mask_blend_ps(mask, no, yes); }
inline uint32_t bits(Mask mask) { return mask; }

#else

typedef Ints Mask;  // all ones or all zeros in each lane
inline Mask at_most(Floats a, Floats b) { return a <= b; }
inline Mask both(Mask a, Mask b) { return a & b; }
inline Mask first_only(Mask a, Mask b) { return a & ~b; }
inline Floats select(Mask mask, Floats yes, Floats no) { return mask ? yes : no; }
#if defined(__AVX2__)
inline uint32_t bits(Mask mask) { return _mm256_movemask_ps(reinterpret_cast<__m256>(mask)); }
#elif defined(__SSE2__)
inline uint32_t bits(Mask mask) { return _mm_movemask_ps(reinterpret_cast<__m128>(mask)); }
#else
inline uint32_t bits(Mask mask) {
  uint32_t result = 0;
  for (int lane = 0; lane < kLanes; ++lane) result |= (mask[lane] & 1u) << lane;
  return result;
}
#endif

#endif

inline Floats larger(Floats a, Floats b) { return select(at_most(a, b), b, a); }
inline Floats smaller(Floats a, Floats b) { return select(at_most(a, b), a, b); }

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

inline float sum(Floats value) {
#if defined(__AVX2__)
#if defined(__AVX512F__)
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(value), _mm512_extractf32x8_ps(value, 1));
#else
  const __m256 half = value;
#endif
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
#else
  return (value[0] + value[2]) + (value[1] + value[3]);
#endif
}

}  // namespace moegs::MOEGS_ISA
