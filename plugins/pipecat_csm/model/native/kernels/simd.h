// Sixteen numbers at a time, on every processor, with the same result whatever their number of
// rows.
//
// All arithmetic that decides a result is written here with explicit fused products, and the build
// forbids the compiler to fuse others: so a row's numbers do not hang on how many rows there are.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if !defined(CSM_PORTABLE)
#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#define CSM_SIMD 1
#define CSM_AVX2 1
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && \
    defined(__AVX512VNNI__)
#define CSM_AVX512 1
#endif
#elif defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#define CSM_SIMD 1
#define CSM_NEON 1
#endif
#endif

namespace csm {

// How many float32 a register holds.
#if defined(CSM_AVX512)
constexpr int kNative = 16;
#elif defined(CSM_AVX2)
constexpr int kNative = 8;
#else
constexpr int kNative = 4;
#endif

// Vectors as GCC and clang have them; an attribute of a template's argument GCC passes over.
template <int N>
struct Vector;

#define CSM_VECTOR(N)                                        \
  template <>                                                \
  struct Vector<N> {                                         \
    typedef float Float __attribute__((vector_size(4 * N))); \
    typedef int32_t Int __attribute__((vector_size(4 * N))); \
  };
CSM_VECTOR(4)
CSM_VECTOR(8)
CSM_VECTOR(16)

template <int N>
using Floats = typename Vector<N>::Float;
template <int N>
using Ints = typename Vector<N>::Int;

inline Floats<4> fused(Floats<4> a, Floats<4> b, Floats<4> c) {
#if defined(CSM_AVX2)
  return (Floats<4>)_mm_fmadd_ps((__m128)a, (__m128)b, (__m128)c);
#elif defined(CSM_NEON)
  return (Floats<4>)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}

#if defined(CSM_AVX2)
inline Floats<8> fused(Floats<8> a, Floats<8> b, Floats<8> c) {
  return (Floats<8>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
#endif
#if defined(CSM_AVX512)
inline Floats<16> fused(Floats<16> a, Floats<16> b, Floats<16> c) {
  return (Floats<16>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
#endif

template <int N>
inline Floats<N> splat(float x) {
  // Not 0 + x, which would be a sum, for the sake of -0.
  if constexpr (N == 4)
    return Floats<N>{x, x, x, x};
  else if constexpr (N == 8)
    return Floats<N>{x, x, x, x, x, x, x, x};
  else
    return Floats<N>{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}

template <int N>
inline Floats<N> load(const float* from) {
  Floats<N> x;
  std::memcpy(&x, from, sizeof x);
  return x;
}

template <int N>
inline void store(float* to, Floats<N> x) {
  std::memcpy(to, &x, sizeof x);
}

// Sixteen lanes in as many registers as it takes.
constexpr int kLanes = 16;
constexpr int kParts = kLanes / kNative;

struct Floats16 {
  Floats<kNative> part[kParts];
};

struct Ints16 {
  Ints<kNative> part[kParts];
};

#define CSM_EACH for (int i = 0; i < kParts; ++i)

inline Floats16 splat16(float x) {
  Floats16 y;
  CSM_EACH y.part[i] = splat<kNative>(x);
  return y;
}

inline Floats16 load16(const float* from) {
  Floats16 y;
  CSM_EACH y.part[i] = load<kNative>(from + i * kNative);
  return y;
}

inline void store16(float* to, const Floats16& x) {
  CSM_EACH store<kNative>(to + i * kNative, x.part[i]);
}

inline Floats16 operator+(const Floats16& a, const Floats16& b) {
  Floats16 y;
  CSM_EACH y.part[i] = a.part[i] + b.part[i];
  return y;
}

inline Floats16 operator*(const Floats16& a, const Floats16& b) {
  Floats16 y;
  CSM_EACH y.part[i] = a.part[i] * b.part[i];
  return y;
}

inline Floats16 operator/(const Floats16& a, const Floats16& b) {
  Floats16 y;
  CSM_EACH y.part[i] = a.part[i] / b.part[i];
  return y;
}

inline Floats16 fused16(const Floats16& a, const Floats16& b, const Floats16& c) {
  Floats16 y;
  CSM_EACH y.part[i] = fused(a.part[i], b.part[i], c.part[i]);
  return y;
}

inline Floats16 larger16(const Floats16& a, const Floats16& b) {
  Floats16 y;
  CSM_EACH y.part[i] = a.part[i] > b.part[i] ? a.part[i] : b.part[i];
  return y;
}

inline Floats16 to_floats(const Ints16& x) {
  Floats16 y;
  CSM_EACH y.part[i] = __builtin_convertvector(x.part[i], Floats<kNative>);
  return y;
}

// In a fixed order: halves onto each other.
inline float sum16(const Floats16& x) {
  float lanes[kLanes];
  store16(lanes, x);
  for (int width = kLanes / 2; width; width /= 2)
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  return lanes[0];
}

inline float largest16(const Floats16& x) {
  float lanes[kLanes];
  store16(lanes, x);
  for (int width = kLanes / 2; width; width /= 2)
    for (int i = 0; i < width; ++i)
      lanes[i] = lanes[i] > lanes[i + width] ? lanes[i] : lanes[i + width];
  return lanes[0];
}

// bfloat16 is the upper half of a float32.
inline float from_bfloat16(uint16_t x) {
  uint32_t bits = uint32_t(x) << 16;
  float y;
  std::memcpy(&y, &bits, sizeof y);
  return y;
}

// To the nearest, ties to even; a NaN stays one.
inline uint16_t to_bfloat16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if (x != x) return uint16_t(bits >> 16 | 0x40);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline float rounded_to_bfloat16(float x) { return from_bfloat16(to_bfloat16(x)); }

inline Floats<kNative> load_native_bfloat16(const uint16_t* from) {
#if defined(CSM_AVX512)
  const __m256i half = _mm256_loadu_si256((const __m256i*)from);
  return (Floats<16>)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
#elif defined(CSM_AVX2)
  const __m128i half = _mm_loadu_si128((const __m128i*)from);
  return (Floats<8>)_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16);
#else
  Floats<4> y;
  for (int i = 0; i < 4; ++i) y[i] = from_bfloat16(from[i]);
  return y;
#endif
}

inline Floats16 load_bfloat16(const uint16_t* from) {
  Floats16 y;
  CSM_EACH y.part[i] = load_native_bfloat16(from + i * kNative);
  return y;
}

// Adding and taking away 1.5 * 2^23 rounds a small float32 to the nearest whole number.
constexpr float kRounding = 12582912.0f;

// e^x to about a unit of the last place, for x up to 88; below -87 it is 0.
template <int N>
inline Floats<N> exponential(Floats<N> x) {
  const float kLowest = -87.0f;
  const Ints<N> tiny = x < kLowest;
  x = tiny ? splat<N>(kLowest) : x;
  Floats<N> whole = fused(x, splat<N>(1.44269504f), splat<N>(kRounding)) - kRounding;
  Floats<N> rest = fused(whole, splat<N>(-0.693359375f), x);
  rest = fused(whole, splat<N>(2.12194440e-4f), rest);
  Floats<N> y = splat<N>(1.9875691500e-4f);
  for (float c :
       {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
    y = fused(y, rest, splat<N>(c));
  y = fused(y, rest * rest, rest + 1.0f);
  Ints<N> exponent = (__builtin_convertvector(whole, Ints<N>) + 127) << 23;
  return tiny ? splat<N>(0.0f) : y * (Floats<N>)exponent;
}

inline Floats16 exponential16(const Floats16& x) {
  Floats16 y;
  CSM_EACH y.part[i] = exponential<kNative>(x.part[i]);
  return y;
}

}  // namespace csm
