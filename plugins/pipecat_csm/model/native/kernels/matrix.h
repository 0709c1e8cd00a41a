// Matrices as their kernels stream them, and products with a few rows or many.
#pragma once

#include "dot.h"
#include "threads.h"

namespace csm {

enum class Format : int64_t { bfloat16 = 0, int8 = 1, int4 = 2 };

// Columns that share a scale: of the weights in int4, of the rows they meet in int8 and int4.
constexpr int64_t kGroup = 32;
// Columns are padded to two groups, whose scales of 4 bits fill a cache line.
constexpr int64_t kPadded = 2 * kGroup;

inline int64_t up_to(int64_t x, int64_t multiple) {
  return (x + multiple - 1) / multiple * multiple;
}

// A matrix [rows, columns], in blocks of 16 rows one after the other; each row is a lane.
//
// bfloat16  columns / 2 x 64 bytes: two columns of every lane.
// int8      64 bytes: a float32 scale of every lane. Then columns / 4 x 64 bytes: four columns of
//           every lane, as numbers 1 to 255 for -127 to 127.
// int4      columns / 64 x (64 bytes: a bfloat16 scale of every lane, of one group, then of the
//           next; then 8 x 64 bytes: four columns of every lane in the low nibbles, the next four
//           in the high ones, as numbers 0 to 15 for -8 to 7). So all is read in memory's order.
constexpr int64_t kPairBytes = 64 + kPadded * 8;

struct Matrix {
  Format format;
  int64_t rows, columns;  // Padded to 16 and 64.
  const uint8_t* data;

  int64_t groups() const { return columns / kGroup; }
  int64_t blocks() const { return rows / kLanes; }
  int64_t block_bytes() const {
    if (format == Format::bfloat16) return columns * kLanes * 2;
    return format == Format::int8 ? 64 + columns * kLanes : columns / kPadded * kPairBytes;
  }
  int64_t bytes() const { return blocks() * block_bytes(); }
};

// Rows that share the reading of a block; as many as the registers hold.
#if defined(CSM_AVX512)
constexpr int kTile = 8;
#else
constexpr int kTile = 4;
#endif

// Rows as a matrix of one format takes them. A group of 32 columns is a record: in bfloat16 just
// these; else int8 with, before them, their scale and what their sum adds to a product because the
// weights are not stored around 0. The records of a tile of rows lie beside each other, so that a
// product reads one stream of them.
struct Activations {
  Format format;
  int64_t columns;  // Padded to 64.
  int64_t tile;     // Rows of a tile.
  uint8_t* data;

  struct Rounded {
    float scale;
    int32_t offset;
    int8_t numbers[kGroup];
  };

  static constexpr int64_t record_bytes(Format format) {
    return format == Format::bfloat16 ? 2 * kGroup : int64_t(sizeof(Rounded));
  }
  int64_t groups() const { return columns / kGroup; }
  int64_t bytes(int64_t rows) const { return up_to(rows, tile) * groups() * record_bytes(format); }
  uint8_t* record(int64_t row, int64_t group) const {
    return data + (row / tile * tile * groups() + group * tile + row % tile) * record_bytes(format);
  }

  // Rounds 32 columns of a row.
  void set(int64_t row, int64_t group, const float* x) const {
    if (format == Format::bfloat16) {
      uint16_t* to = (uint16_t*)record(row, group);
      for (int64_t i = 0; i < kGroup; ++i) to[i] = to_bfloat16(x[i]);
      return;
    }
    const Floats16 a = load16(x), b = load16(x + kLanes), minus = splat16(-1.0f);
    const float most = largest16(larger16(larger16(a, a * minus), larger16(b, b * minus)));
    const float inverse = most > 0.0f ? 127.0f / most : 0.0f;
    Rounded* to = (Rounded*)record(row, group);
    int32_t sum = 0;
    for (int64_t i = 0; i < kGroup; ++i) {
      const int32_t number = int32_t(x[i] * inverse + kRounding - kRounding);
      to->numbers[i] = int8_t(number);
      sum += number;
    }
    to->scale = most / 127.0f;
    to->offset = -sum * (format == Format::int4 ? 8 : kByteZero);
  }
};

template <int R>
struct Tile {
  Floats16 row[R];
};

template <int R>
Tile<R> bfloat16_block(const Matrix& m, const uint8_t* w, const Activations& a, int64_t first) {
  // Two sums a row, since each waits for the one before.
  Tile<R> even = {}, odd = {};
  const uint16_t* x = (const uint16_t*)a.record(first, 0);
  for (int64_t g = 0; g < m.groups(); ++g, x += a.tile * kGroup)
    for (int64_t c = 0; c < kGroup; c += 4, w += 128)
      for (int r = 0; r < R; ++r) {
        even.row[r] = dot2(even.row[r], w, x + r * kGroup + c);
        odd.row[r] = dot2(odd.row[r], w + 64, x + r * kGroup + c + 2);
      }
  for (int r = 0; r < R; ++r) even.row[r] = even.row[r] + odd.row[r];
  return even;
}

template <int R>
Tile<R> int8_block(const Matrix& m, const uint8_t* w, const Activations& a, int64_t first) {
  Tile<R> sum = {};
  const Floats16 scale = load16((const float*)w);
  w += 64;
  const auto* x = (const Activations::Rounded*)a.record(first, 0);
  for (int64_t g = 0; g < m.groups(); ++g, x += a.tile) {
    Ints16 part[R];
    for (int r = 0; r < R; ++r) part[r] = splat_ints(x[r].offset);
    for (int64_t c = 0; c < kGroup; c += 4, w += 64) {
      const Bytes64 four = weights_of_8_bits(load_bytes(w));
      for (int r = 0; r < R; ++r) part[r] = dot4(part[r], four, x[r].numbers + c);
    }
    for (int r = 0; r < R; ++r)
      sum.row[r] = fused16(to_floats(part[r]), splat16(x[r].scale), sum.row[r]);
  }
  for (int r = 0; r < R; ++r) sum.row[r] = sum.row[r] * scale;
  return sum;
}

template <int R>
Tile<R> int4_block(const Matrix& m, const uint8_t* w, const Activations& a, int64_t first) {
  Tile<R> sum = {};
  const auto* x = (const Activations::Rounded*)a.record(first, 0);
  for (int64_t g = 0; g < m.groups(); ++g, x += a.tile) {
    const uint8_t* pair = w + g / 2 * kPairBytes;
    const uint8_t* numbers = pair + 64 + g % 2 * (kGroup * 8);
    Ints16 part[R];
    for (int r = 0; r < R; ++r) part[r] = splat_ints(x[r].offset);
    for (int64_t c = 0; c < kGroup; c += 8, numbers += 64) {
      const Bytes64 eight = load_bytes(numbers);
      const Bytes64 low = low_nibbles(eight), high = high_nibbles(eight);
      for (int r = 0; r < R; ++r)
        part[r] = dot4_of_4_bits(dot4_of_4_bits(part[r], low, x[r].numbers + c), high,
                                 x[r].numbers + c + 4);
    }
    const Floats16 scale = load_bfloat16((const uint16_t*)pair + g % 2 * kLanes);
    for (int r = 0; r < R; ++r)
      sum.row[r] = fused16(to_floats(part[r]), scale * splat16(x[r].scale), sum.row[r]);
  }
  return sum;
}

template <int R>
void block_product(const Matrix& m, int64_t block, const Activations& x, int64_t first, float* out,
                   int64_t stride) {
  const uint8_t* w = m.data + block * m.block_bytes();
  const Tile<R> y = m.format == Format::bfloat16 ? bfloat16_block<R>(m, w, x, first)
                    : m.format == Format::int8   ? int8_block<R>(m, w, x, first)
                                                 : int4_block<R>(m, w, x, first);
  for (int r = 0; r < R; ++r) store16(out + r * stride, y.row[r]);
}

template <int R>
void block_product_of(int count, const Matrix& m, int64_t block, const Activations& x,
                      int64_t first, float* out, int64_t stride) {
  if (count == R) return block_product<R>(m, block, x, first, out, stride);
  if constexpr (R > 1) block_product_of<R - 1>(count, m, block, x, first, out, stride);
}

// 16 outputs of a tile of rows: out[r * stride + lane] for the rows from `first` on.
inline void block_rows(const Matrix& m, int64_t block, const Activations& x, int64_t first,
                       int64_t count, float* out, int64_t stride) {
  block_product_of<kTile>(int(count), m, block, x, first, out, stride);
}

// Calls work(unit, first row, rows) for this thread's units of blocks and every tile of rows. A few
// units stay in the cache while all rows pass, so that neither is read from memory too often.
template <class Work>
void over_tiles(const Team& team, const Matrix& m, int64_t blocks_a_unit, int64_t rows,
                const Work& work) {
  const Range mine = team.share(m.blocks() / blocks_a_unit);
  const int64_t most = 256 * 1024 / (blocks_a_unit * m.block_bytes());
  const int64_t together = rows > kTile && most > 1 ? most : 1;
  for (int64_t begin = mine.begin; begin < mine.end; begin += together) {
    const int64_t end = begin + together < mine.end ? begin + together : mine.end;
    for (int64_t first = 0; first < rows; first += kTile)
      for (int64_t unit = begin; unit < end; ++unit)
        work(unit, first, rows - first < kTile ? rows - first : int64_t(kTile));
  }
}

// This thread's part of x @ m.T for all rows: out[r * stride + output].
inline void multiply(const Team& team, const Matrix& m, const Activations& x, int64_t rows,
                     float* out, int64_t stride) {
  over_tiles(team, m, 1, rows, [&](int64_t block, int64_t first, int64_t count) {
    block_rows(m, block, x, first, count, out + first * stride + block * kLanes, stride);
  });
}

}  // namespace csm
