// Products with matrices in float32, for the codec.
#pragma once

#include "matrix.h"
#include "threads.h"

namespace csm {

// A matrix [rows, columns] in blocks of 16 rows; a column of a block is 16 float32 beside each
// other.
struct FloatMatrix {
  int64_t rows, columns;  // The rows padded to 16.
  const float* data;
};

// Hands out one after the other what Python has put behind each other, each up to a whole 64 bytes.
class FloatReader {
 public:
  explicit FloatReader(const float* from) : at_(from) {}

  const float* vector(int64_t count) {
    const float* found = at_;
    at_ += up_to(count, kLanes);
    return found;
  }

  FloatMatrix matrix(int64_t rows, int64_t columns) {
    const int64_t padded = up_to(rows, kLanes);
    return {padded, columns, vector(padded * columns)};
  }

 private:
  const float* at_;
};

// Rows that share the reading of a block; as many as the registers hold.
constexpr int kFloatTile = kNative / 2;

template <int R>
void float_block(const FloatMatrix& m, int64_t block, const float* const* x, Floats16* y) {
  const float* w = m.data + block * kLanes * m.columns;
  Floats16 sum[R];
  for (int r = 0; r < R; ++r) sum[r] = splat16(0.0f);
  for (int64_t c = 0; c < m.columns; ++c, w += kLanes) {
    const Floats16 column = load16(w);
    for (int r = 0; r < R; ++r) sum[r] = fused16(column, splat16(x[r][c]), sum[r]);
  }
  for (int r = 0; r < R; ++r) y[r] = sum[r];
}

template <int R>
void float_block_of(int count, const FloatMatrix& m, int64_t block, const float* const* x,
                    Floats16* y) {
  if (count == R) return float_block<R>(m, block, x, y);
  if constexpr (R > 1) float_block_of<R - 1>(count, m, block, x, y);
}

// This thread's part of x @ m.T: `row` says where a row begins, and `put(row, output, sixteen)`
// takes what came out.
template <class RowOf, class Put>
void multiply_floats(const Team& team, const FloatMatrix& m, int64_t rows, const RowOf& row,
                     const Put& put) {
  const int64_t tiles = (rows + kFloatTile - 1) / kFloatTile, blocks = m.rows / kLanes;
  // Few rows share out the weights; many rows share out themselves, past weights in the cache.
  const bool by_rows = tiles >= 4 * team.size;
  const Range my_tiles = by_rows ? team.share(tiles) : Range{0, tiles};
  const Range my_blocks = by_rows ? Range{0, blocks} : team.share(blocks);
  const auto tile = [&](int64_t t, int64_t block) {
    const float* x[kFloatTile];
    Floats16 y[kFloatTile];
    const int64_t first = t * kFloatTile;
    const int count = int(rows - first < kFloatTile ? rows - first : kFloatTile);
    for (int r = 0; r < count; ++r) x[r] = row(first + r);
    float_block_of<kFloatTile>(count, m, block, x, y);
    for (int r = 0; r < count; ++r) put(first + r, block * kLanes, y[r]);
  };
  if (by_rows) {
    for (int64_t t = my_tiles.begin; t < my_tiles.end; ++t)
      for (int64_t block = 0; block < blocks; ++block) tile(t, block);
  } else {
    for (int64_t block = my_blocks.begin; block < my_blocks.end; ++block)
      for (int64_t t = 0; t < tiles; ++t) tile(t, block);
  }
}

}  // namespace csm
