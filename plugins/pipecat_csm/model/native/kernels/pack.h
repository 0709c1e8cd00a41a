// Rounding matrices, and putting them into the order of `matrix.h`. `rounding.py` has the same
// rules.
#pragma once

#include <vector>

#include "matrix.h"

namespace csm {

// A matrix in bfloat16 as torch has it; strides in numbers.
struct Source {
  const uint16_t* data;
  int64_t row_stride, column_stride;
  int64_t columns;
  const int64_t* order;  // Which of its rows each packed row is; -1 is a row of zeros.

  // A packed row as float32, with zeros behind it up to `count`.
  void read(int64_t row, int64_t count, float* to) const {
    const int64_t from = order[row];
    for (int64_t c = 0; c < count; ++c)
      to[c] = from < 0 || c >= columns ? 0.0f
                                       : from_bfloat16(data[from * row_stride + c * column_stride]);
  }
};

// x / scale, rounded to the nearest and held between two limits.
inline Floats16 round_between(const Floats16& x, float scale, float low, float high) {
  const Floats16 minus = splat16(-1.0f);
  Floats16 y = x / splat16(scale) + splat16(kRounding);
  y = y + splat16(-kRounding);
  y = larger16(y, splat16(low));
  return larger16(y * minus, splat16(-high)) * minus;
}

// A group's numbers from -8 to 7 (as float32), and its scale in bfloat16.
inline uint16_t round_group(const float* x, float* numbers) {
  const Floats16 a = load16(x), b = load16(x + kLanes), minus = splat16(-1.0f);
  const float size = largest16(larger16(larger16(a, a * minus), larger16(b, b * minus)));
  // The side with one number more, -8, is for the largest: so scales may be negative.
  float largest = 1e-8f;
  for (int64_t i = 0; size >= 1e-8f && i < kGroup; ++i)
    if (std::fabs(x[i]) == size) {
      largest = x[i];
      break;
    }
  float least = INFINITY;
  uint16_t best = 0;
  for (float peak : {7.0f, 7.5f, 8.0f, 8.5f, 9.0f}) {
    const uint16_t stored = to_bfloat16(-largest / peak);
    const float scale = from_bfloat16(stored);
    const Floats16 p = round_between(a, scale, -8.0f, 7.0f);
    const Floats16 q = round_between(b, scale, -8.0f, 7.0f);
    const Floats16 c = fused16(p, splat16(scale), a * minus);
    const Floats16 d = fused16(q, splat16(scale), b * minus);
    const float error = sum16(fused16(c, c, d * d));
    if (error >= least) continue;
    least = error;
    best = stored;
    store16(numbers, p);
    store16(numbers + kLanes, q);
  }
  return best;
}

inline void pack_bfloat16_row(const Matrix& m, const float* x, int64_t lane, uint8_t* block) {
  uint16_t* to = (uint16_t*)block;
  for (int64_t c = 0; c < m.columns; ++c) to[c / 2 * 32 + 2 * lane + c % 2] = to_bfloat16(x[c]);
}

inline void pack_int8_row(const Matrix& m, const float* x, int64_t lane, uint8_t* block) {
  float most = 1e-8f;
  for (int64_t c = 0; c < m.columns; ++c) most = std::fabs(x[c]) > most ? std::fabs(x[c]) : most;
  const float scale = from_bfloat16(to_bfloat16(most / 127.0f));
  ((float*)block)[lane] = scale;
  block += 64;
  float numbers[kLanes];
  for (int64_t c = 0; c < m.columns; c += kLanes) {
    store16(numbers, round_between(load16(x + c), scale, -127.0f, 127.0f));
    for (int64_t i = 0; i < kLanes; ++i)
      block[(c + i) / 4 * 64 + 4 * lane + i % 4] = uint8_t(int(numbers[i]) + 128);
  }
}

inline void pack_int4_row(const Matrix& m, const float* x, int64_t lane, uint8_t* block) {
  float numbers[kGroup];
  for (int64_t g = 0; g < m.groups(); ++g) {
    uint8_t* pair = block + g / 2 * kPairBytes;
    ((uint16_t*)pair)[g % 2 * kLanes + lane] = round_group(x + g * kGroup, numbers);
    for (int64_t i = 0; i < kGroup; i += 8) {
      uint8_t* to = pair + 64 + (g % 2 * kGroup + i) * 8 + 4 * lane;
      for (int64_t j = 0; j < 4; ++j)
        to[j] = uint8_t(int(numbers[i + j]) + 8) | uint8_t(int(numbers[i + j + 4]) + 8) << 4;
    }
  }
}

// This thread's part of packing; `to` holds m.bytes() and is filled altogether.
inline void pack(const Team& team, const Matrix& m, const Source& source, uint8_t* to) {
  const Range mine = team.share(m.blocks());
  std::vector<float> row(m.columns);
  for (int64_t block = mine.begin; block < mine.end; ++block) {
    uint8_t* here = to + block * m.block_bytes();
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      source.read(block * kLanes + lane, m.columns, row.data());
      if (m.format == Format::bfloat16)
        pack_bfloat16_row(m, row.data(), lane, here);
      else if (m.format == Format::int8)
        pack_int8_row(m, row.data(), lane, here);
      else
        pack_int4_row(m, row.data(), lane, here);
    }
  }
}

}  // namespace csm
