// The layers of a Llama-style transformer, one after the other, by a team of threads.
#pragma once

#include <vector>

#include "arena.h"
#include "attention.h"

namespace csm {

// A stack of layers, as Python hands it over; all fields are 8 bytes.
struct Stack {
  int64_t format, layers, hidden, intermediate, heads, kv_heads, head_dim;
  double norm_eps;
  const uint8_t* weights;  // Of every layer as `Layer` takes them, then the final norm.
  int64_t weight_bytes;
  const uint16_t* cos;  // [positions, head_dim]
  const uint16_t* sin;

  int64_t wide_hidden() const { return up_to(hidden, kPadded); }
  int64_t wide_intermediate() const { return up_to(intermediate, kPadded); }
  int64_t qkv_rows() const { return (heads + 2 * kv_heads) * head_dim; }
};

// Takes one thing after the other out of bytes.
class Reader {
 public:
  explicit Reader(const uint8_t* from) : at_(from) {}

  const float* floats(int64_t count) {
    const float* found = (const float*)at_;
    at_ += up_to(4 * count, 64);
    return found;
  }

  Matrix matrix(int64_t format, int64_t rows, int64_t columns) {
    Matrix m{Format(format), up_to(rows, kLanes), up_to(columns, kPadded), at_};
    at_ += up_to(m.bytes(), 64);
    return m;
  }

  const uint8_t* at() const { return at_; }

 private:
  const uint8_t* at_;
};

struct Layer {
  const float* attention_norm;
  Matrix qkv, out;
  const float* mlp_norm;
  Matrix gate_up;  // 32 rows of the gate, the 32 of up that belong to them, the next 32, ...
  Matrix down;

  Layer(const Stack& s, Reader& from)
      : attention_norm(from.floats(s.hidden)),
        qkv(from.matrix(s.format, s.qkv_rows(), s.hidden)),
        out(from.matrix(s.format, s.hidden, s.heads * s.head_dim)),
        mlp_norm(from.floats(s.hidden)),
        gate_up(from.matrix(s.format, 2 * s.wide_intermediate(), s.hidden)),
        down(from.matrix(s.format, s.hidden, s.intermediate)) {}
};

// Room for so many rows.
inline Activations activations(Arena& arena, Format format, int64_t columns, int64_t rows) {
  Activations a{format, up_to(columns, kPadded), rows < kTile ? rows : int64_t(kTile), nullptr};
  a.data = (uint8_t*)arena.take(a.bytes(rows));
  return a;
}

// This thread's part of rounding rows that are given in bfloat16: from(r) is where row r begins.
template <class From>
void set_rows(const Team& team, const Activations& to, int64_t rows, int64_t columns,
              const From& from) {
  const Range mine = team.share(rows * to.groups());
  for (int64_t at = mine.begin; at < mine.end; ++at) {
    const int64_t r = at / to.groups(), begin = at % to.groups() * kGroup;
    float group[kGroup];
    for (int64_t i = 0; i < kGroup; ++i)
      group[i] = begin + i < columns ? from_bfloat16(from(r)[begin + i]) : 0.0f;
    to.set(r, begin / kGroup, group);
  }
}

// What rows pass through, for up to `most` of them.
struct Workspace {
  int64_t stride, qkv_stride;
  float* x;         // [most, stride], the residual
  float* qkv;       // [most, qkv_stride]
  float* attended;  // [most, heads * head_dim]
  Activations normed, mixed, gated;
  float* attention;  // [threads, attention_scratch]
  int64_t attention_floats;

  void lay_out(Arena& arena, const Stack& s, int64_t most, int64_t span, int threads) {
    const Format format = Format(s.format);
    stride = s.wide_hidden();
    qkv_stride = up_to(s.qkv_rows(), kLanes);
    x = (float*)arena.take(4 * most * stride);
    qkv = (float*)arena.take(4 * most * qkv_stride);
    attended = (float*)arena.take(4 * most * s.heads * s.head_dim);
    normed = activations(arena, format, s.hidden, most);
    mixed = activations(arena, format, s.heads * s.head_dim, most);
    gated = activations(arena, format, s.intermediate, most);
    attention_floats = up_to(attention_scratch(span, s.head_dim), kLanes);
    attention = (float*)arena.take(4 * attention_floats * threads);
  }
};

// What a row is multiplied by before its norm's weight; behind `size` it is 0 up to a whole 64.
inline float norm_factor(const float* x, int64_t size, float eps) {
  Floats16 sum = splat16(0.0f), rest = sum;
  for (int64_t i = 0; i < size; i += 2 * kLanes) {
    const Floats16 a = load16(x + i), b = load16(x + i + kLanes);
    sum = fused16(a, a, sum);
    rest = fused16(b, b, rest);
  }
  return 1.0f / std::sqrt(sum16(sum + rest) / float(size) + eps);
}

// This thread's part of norm(x) as a matrix takes it; `round` sees each number before.
template <class Round>
void normalise(const Team& team, const float* x, int64_t stride, int64_t rows, const float* weight,
               int64_t size, float eps, const Activations& to, const Round& round) {
  const Range mine = team.share(rows * to.groups());
  int64_t current = -1;
  float factor = 0.0f;
  for (int64_t at = mine.begin; at < mine.end; ++at) {
    const int64_t r = at / to.groups(), begin = at % to.groups() * kGroup;
    const float* row = x + r * stride;
    if (r != current) factor = norm_factor(row, size, eps);
    current = r;
    float group[kGroup];
    for (int64_t i = 0; i < kGroup; ++i)
      group[i] = begin + i < size ? round(row[begin + i] * factor * weight[begin + i]) : 0.0f;
    to.set(r, begin / kGroup, group);
  }
}

// This thread's part of x += a @ m.T.
inline void multiply_onto(const Team& team, const Matrix& m, const Activations& a, int64_t rows,
                          float* x, int64_t stride) {
  float product[kTile * kLanes];
  over_tiles(team, m, 1, rows, [&](int64_t block, int64_t first, int64_t count) {
    block_rows(m, block, a, first, count, product, kLanes);
    for (int64_t r = 0; r < count; ++r) {
      float* to = x + (first + r) * stride + block * kLanes;
      store16(to, load16(to) + load16(product + r * kLanes));
    }
  });
}

// This thread's part of silu(gate) * up, rounded for the next matrix.
inline void multiply_gated(const Team& team, const Matrix& m, const Activations& a, int64_t rows,
                           const Activations& to) {
  constexpr int64_t kUnit = 2 * kGroup;  // 32 of the gate and their 32 of up
  float product[kTile * kUnit];
  over_tiles(team, m, kUnit / kLanes, rows, [&](int64_t unit, int64_t first, int64_t count) {
    for (int64_t i = 0; i < kUnit / kLanes; ++i)
      block_rows(m, unit * (kUnit / kLanes) + i, a, first, count, product + i * kLanes, kUnit);
    for (int64_t r = 0; r < count; ++r) {
      float group[kGroup];
      for (int64_t i = 0; i < kGroup; i += kLanes) {
        const Floats16 gate = load16(product + r * kUnit + i);
        const Floats16 up = load16(product + r * kUnit + kGroup + i);
        const Floats16 one = splat16(1.0f);
        store16(group + i, gate / (one + exponential16(gate * splat16(-1.0f))) * up);
      }
      to.set(first + r, unit, group);
    }
  });
}

// This thread's part of turning queries and keys, and of writing keys and values.
inline void place_keys(const Team& team, const Stack& s, const Cache& cache, int64_t layer,
                       const std::vector<Row>& rows, const Workspace& w) {
  const int64_t heads = s.heads + 2 * s.kv_heads, dims = s.head_dim;
  const Range mine = team.share(int64_t(rows.size()) * heads);
  for (int64_t at = mine.begin; at < mine.end; ++at) {
    const Row& row = rows[at / heads];
    const int64_t head = at % heads, kv = head - s.heads;
    float* x = w.qkv + at / heads * w.qkv_stride + head * dims;
    if (kv < s.kv_heads) rotate(x, s.cos + row.position * dims, s.sin + row.position * dims, dims);
    if (kv < 0) continue;
    uint16_t* to = (kv < s.kv_heads ? cache.keys : cache.values) + layer * cache.layer +
                   row.slot * cache.slot + row.written * cache.position + kv % s.kv_heads * dims;
    for (int64_t d = 0; d < dims; ++d) to[d] = to_bfloat16(x[d]);
  }
}

// Rows that follow each other in one slot, up to as many as make a full set of queries.
inline std::vector<Range> tiles_of(const std::vector<Row>& rows, int64_t group) {
  const int64_t most = kNative / group > 1 ? kNative / group : 1;
  std::vector<Range> tiles;
  for (int64_t r = 0; r < int64_t(rows.size()); ++r) {
    const bool joins = !tiles.empty() && rows[tiles.back().begin].slot == rows[r].slot &&
                       r - tiles.back().begin < most;
    if (joins)
      tiles.back().end = r + 1;
    else
      tiles.push_back({r, r + 1});
  }
  return tiles;
}

// This thread's part of the attention.
inline void attend_rows(const Team& team, const Stack& s, const Cache& cache, int64_t layer,
                        const std::vector<Row>& rows, const std::vector<Range>& tiles,
                        const Workspace& w) {
  const int64_t group = s.heads / s.kv_heads, dims = s.head_dim;
  float* scratch = w.attention + team.rank * w.attention_floats;
  const Range mine = team.share(int64_t(tiles.size()) * s.kv_heads);
  for (int64_t at = mine.begin; at < mine.end; ++at) {
    const Range tile = tiles[at / s.kv_heads];
    const int64_t kv = at % s.kv_heads;
    const int64_t base = layer * cache.layer + rows[tile.begin].slot * cache.slot + kv * dims;
    Queries q{0, {}, {}, {}};
    auto flush = [&] {
      attend(q, {cache.keys + base, cache.position, dims},
             {cache.values + base, cache.position, dims}, scratch);
      q.count = 0;
    };
    for (int64_t r = tile.begin; r < tile.end; ++r)
      for (int64_t head = kv * group; head < (kv + 1) * group; ++head) {
        q.query[q.count] = w.qkv + r * w.qkv_stride + head * dims;
        q.result[q.count] = w.attended + (r * s.heads + head) * dims;
        q.seen[q.count++] = rows[r].seen;
        if (q.count == kNative) flush();
      }
    if (q.count) flush();
  }
}

// This thread's part of rounding what attention gave.
inline void round_attended(const Team& team, const Stack& s, int64_t rows, const Workspace& w) {
  const int64_t groups = w.mixed.groups(), size = s.heads * s.head_dim;
  const Range mine = team.share(rows * groups);
  for (int64_t at = mine.begin; at < mine.end; ++at) {
    const int64_t r = at / groups, begin = at % groups * kGroup;
    float group[kGroup];
    for (int64_t i = 0; i < kGroup; ++i)
      group[i] = begin + i < size ? w.attended[r * size + begin + i] : 0.0f;
    w.mixed.set(r, begin / kGroup, group);
  }
}

// Has rows w.x pass through all layers; all threads of the team call it with the same arguments.
// The final norm is returned, for whoever comes next.
inline const float* run_layers(const Team& team, const Stack& s, const Cache& cache,
                               const std::vector<Row>& rows, const std::vector<Range>& tiles,
                               const Workspace& w) {
  const int64_t count = int64_t(rows.size());
  const float eps = float(s.norm_eps);
  const auto as_it_is = [](float x) { return x; };
  Reader from(s.weights);
  for (int64_t index = 0; index < s.layers; ++index) {
    const Layer layer(s, from);
    normalise(team, w.x, w.stride, count, layer.attention_norm, s.hidden, eps, w.normed, as_it_is);
    team.wait();
    multiply(team, layer.qkv, w.normed, count, w.qkv, w.qkv_stride);
    team.wait();
    place_keys(team, s, cache, index, rows, w);
    team.wait();
    attend_rows(team, s, cache, index, rows, tiles, w);
    team.wait();
    round_attended(team, s, count, w);
    team.wait();
    multiply_onto(team, layer.out, w.mixed, count, w.x, w.stride);
    team.wait();
    normalise(team, w.x, w.stride, count, layer.mlp_norm, s.hidden, eps, w.normed, as_it_is);
    team.wait();
    multiply_gated(team, layer.gate_up, w.normed, count, w.gated);
    team.wait();
    multiply_onto(team, layer.down, w.gated, count, w.x, w.stride);
    team.wait();
  }
  return from.floats(s.hidden);
}

}  // namespace csm
