// In each of sixteen lanes, sums of four products of bytes, or of two of bfloat16.
#pragma once

#include "simd.h"

namespace csm {

// 64 bytes: for each lane four columns of a row of weights, whole numbers from 0 up.
struct Bytes64 {
#if defined(CSM_AVX512)
  __m512i part[1];
#elif defined(CSM_AVX2)
  __m256i part[2];
#elif defined(CSM_NEON)
  uint8x16_t part[4];
#else
  uint8_t byte[64];
#endif
};

inline int32_t word(const void* from) {
  int32_t x;
  std::memcpy(&x, from, sizeof x);
  return x;
}

inline Ints16 splat_ints(int32_t x) {
  Ints16 y;
  CSM_EACH y.part[i] = Ints<kNative>{} + x;
  return y;
}

#if defined(CSM_AVX512)

inline Bytes64 load_bytes(const uint8_t* from) { return {_mm512_loadu_si512(from)}; }

inline Bytes64 low_nibbles(const Bytes64& x) {
  return {_mm512_and_si512(x.part[0], _mm512_set1_epi8(0x0f))};
}

inline Bytes64 high_nibbles(const Bytes64& x) {
  return {_mm512_and_si512(_mm512_srli_epi16(x.part[0], 4), _mm512_set1_epi8(0x0f))};
}

#elif defined(CSM_AVX2)

inline Bytes64 load_bytes(const uint8_t* from) {
  return {_mm256_loadu_si256((const __m256i*)from), _mm256_loadu_si256((const __m256i*)from + 1)};
}

inline Bytes64 low_nibbles(const Bytes64& x) {
  const __m256i mask = _mm256_set1_epi8(0x0f);
  return {_mm256_and_si256(x.part[0], mask), _mm256_and_si256(x.part[1], mask)};
}

inline Bytes64 high_nibbles(const Bytes64& x) {
  return low_nibbles({_mm256_srli_epi16(x.part[0], 4), _mm256_srli_epi16(x.part[1], 4)});
}

#elif defined(CSM_NEON)

inline Bytes64 load_bytes(const uint8_t* from) {
  return {vld1q_u8(from), vld1q_u8(from + 16), vld1q_u8(from + 32), vld1q_u8(from + 48)};
}

inline Bytes64 low_nibbles(const Bytes64& x) {
  Bytes64 y;
  CSM_EACH y.part[i] = vandq_u8(x.part[i], vdupq_n_u8(0x0f));
  return y;
}

inline Bytes64 high_nibbles(const Bytes64& x) {
  Bytes64 y;
  CSM_EACH y.part[i] = vshrq_n_u8(x.part[i], 4);
  return y;
}

#else

inline Bytes64 load_bytes(const uint8_t* from) {
  Bytes64 y;
  std::memcpy(y.byte, from, 64);
  return y;
}

inline Bytes64 low_nibbles(const Bytes64& x) {
  Bytes64 y;
  for (int i = 0; i < 64; ++i) y.byte[i] = x.byte[i] & 0x0f;
  return y;
}

inline Bytes64 high_nibbles(const Bytes64& x) {
  Bytes64 y;
  for (int i = 0; i < 64; ++i) y.byte[i] = x.byte[i] >> 4;
  return y;
}

#endif

// Matrices of 8 bits are stored around 128. AVX-512 and AVX-VNNI multiply them as they are; the
// others want them around 0. `kByteZero` is what stands for 0 in what `dot4` gets.
#if defined(CSM_AVX512) || (defined(CSM_AVX2) && defined(__AVXVNNI__)) || !defined(CSM_SIMD)
constexpr int32_t kByteZero = 128;

inline Bytes64 weights_of_8_bits(const Bytes64& x) { return x; }
#else
constexpr int32_t kByteZero = 0;

inline Bytes64 weights_of_8_bits(Bytes64 x) {
#if defined(CSM_NEON)
  CSM_EACH x.part[i] = veorq_u8(x.part[i], vdupq_n_u8(0x80));
#else
  CSM_EACH x.part[i] = _mm256_xor_si256(x.part[i], _mm256_set1_epi8(int8_t(0x80)));
#endif
  return x;
}
#endif

// sum + the products of each lane's four weights of 8 bits with four columns of x.
inline Ints16 dot4(Ints16 sum, const Bytes64& w, const int8_t* x) {
#if defined(CSM_AVX512)
  sum.part[0] =
      (Ints<16>)_mm512_dpbusd_epi32((__m512i)sum.part[0], w.part[0], _mm512_set1_epi32(word(x)));
#elif defined(CSM_AVX2) && defined(__AVXVNNI__)
  CSM_EACH sum.part[i] =
      (Ints<8>)_mm256_dpbusd_avx_epi32((__m256i)sum.part[i], w.part[i], _mm256_set1_epi32(word(x)));
#elif defined(CSM_AVX2)
  // Pairs of products fit into 16 bits, since neither side is ever -128.
  const __m256i columns = _mm256_set1_epi32(word(x)), ones = _mm256_set1_epi16(1);
  CSM_EACH {
    const __m256i signed_columns = _mm256_sign_epi8(columns, w.part[i]);
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w.part[i]), signed_columns);
    sum.part[i] += (Ints<8>)_mm256_madd_epi16(pairs, ones);
  }
#elif defined(CSM_NEON)
  const int8x16_t columns = vreinterpretq_s8_s32(vdupq_n_s32(word(x)));
  CSM_EACH sum.part[i] =
      (Ints<4>)vdotq_s32((int32x4_t)sum.part[i], vreinterpretq_s8_u8(w.part[i]), columns);
#else
  int32_t lanes[kLanes];
  std::memcpy(lanes, &sum, sizeof lanes);
  for (int i = 0; i < kLanes; ++i)
    for (int j = 0; j < 4; ++j) lanes[i] += int32_t(w.byte[4 * i + j]) * x[j];
  std::memcpy(&sum, lanes, sizeof lanes);
#endif
  return sum;
}

// The same for weights of 4 bits, from 0 to 15.
inline Ints16 dot4_of_4_bits(Ints16 sum, const Bytes64& w, const int8_t* x) {
#if defined(CSM_AVX2) && !defined(CSM_AVX512) && !defined(__AVXVNNI__)
  const __m256i columns = _mm256_set1_epi32(word(x)), ones = _mm256_set1_epi16(1);
  CSM_EACH sum.part[i] +=
      (Ints<8>)_mm256_madd_epi16(_mm256_maddubs_epi16(w.part[i], columns), ones);
  return sum;
#else
  return dot4(sum, w, x);
#endif
}

// sum + the products of each lane's two bfloat16 weights with two columns of x.
inline Floats16 dot2(Floats16 sum, const uint8_t* w, const uint16_t* x) {
#if defined(CSM_AVX512) && defined(__AVX512BF16__)
  sum.part[0] = (Floats<16>)_mm512_dpbf16_ps((__m512)sum.part[0], (__m512bh)_mm512_loadu_si512(w),
                                             (__m512bh)_mm512_set1_epi32(word(x)));
#else
  const Ints<kNative> columns = Ints<kNative>{} + word(x);
  const Ints<kNative> upper = Ints<kNative>{} + int32_t(0xffff0000);
  CSM_EACH {
    Ints<kNative> pair;
    std::memcpy(&pair, w + 4 * kNative * i, sizeof pair);
    sum.part[i] =
        fused((Floats<kNative>)(pair << 16), (Floats<kNative>)(columns << 16), sum.part[i]);
    sum.part[i] =
        fused((Floats<kNative>)(pair & upper), (Floats<kNative>)(columns & upper), sum.part[i]);
  }
#endif
  return sum;
}

}  // namespace csm
