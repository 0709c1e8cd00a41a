// Rotary attention over a cache in bfloat16, a few queries at a time, each a lane of its own.
#pragma once

#include "matrix.h"

namespace csm {

// Keys and values, [layers, slots, positions, kv_heads, head_dim]; strides in numbers.
struct Cache {
  uint16_t* keys;
  uint16_t* values;
  int64_t layer, slot, position;
};

// A row of a batch and where it stands.
struct Row {
  int64_t source;    // In the batch as it came.
  int64_t slot;      // Of the cache.
  int64_t position;  // Its angles are this position's.
  int64_t written;   // Its key and value go there.
  int64_t seen;      // It sees so many of the first positions.
};

constexpr int64_t kKeys = 32;  // That are widened to float32 at once.

// Turns a head by a position's angles, as halves: dimension i with i + dims / 2.
inline void rotate(float* x, const uint16_t* cos, const uint16_t* sin, int64_t dims) {
  const int64_t half = dims / 2;
  for (int64_t i = 0; i < half; ++i) {
    const float a = x[i], b = x[i + half];
    x[i] = a * from_bfloat16(cos[i]) - b * from_bfloat16(sin[i]);
    x[i + half] = b * from_bfloat16(cos[i + half]) + a * from_bfloat16(sin[i + half]);
  }
}

inline void widen(const uint16_t* from, int64_t stride, int64_t count, int64_t dims, float* to) {
  for (int64_t j = 0; j < count; ++j)
    for (int64_t d = 0; d < dims; ++d) to[j * dims + d] = from_bfloat16(from[j * stride + d]);
}

// Queries that share keys and values: where each is, where its result goes, how many keys it sees.
struct Queries {
  int count;
  const float* query[16];
  float* result[16];
  int64_t seen[16];
};

// Floats that `attend` needs beside its arguments.
inline int64_t attention_scratch(int64_t span, int64_t dims) {
  return (span + 2 * dims) * 16 + kKeys * dims + 16 * kLanes;
}

// Softmax attention of up to N queries. Each lane adds in the order of the keys, whatever the others
// are, and what a lane does not see adds exactly nothing.
template <int N>
void attend(const Queries& q, const uint16_t* keys, const uint16_t* values, int64_t stride,
            int64_t dims, float* scratch) {
  float* turned = scratch;             // [dims, N], the queries, scaled
  float* result = turned + dims * N;   // [dims, N]
  float* wide = result + dims * N;     // [kKeys, dims]
  float* weights = wide + kKeys * dims;  // [span, N]
  const float scale = 1.0f / std::sqrt(float(dims));
  int64_t span = 0;
  Ints<N> seen = {};
  for (int lane = 0; lane < N; ++lane) {
    for (int64_t d = 0; d < dims; ++d)
      turned[d * N + lane] = lane < q.count ? q.query[lane][d] * scale : 0.0f;
    seen[lane] = lane < q.count ? int32_t(q.seen[lane]) : 1;
    if (seen[lane] > span) span = seen[lane];
  }

  Floats<N> most = splat<N>(-INFINITY);
  for (int64_t begin = 0; begin < span; begin += kKeys) {
    const int64_t count = span - begin < kKeys ? span - begin : kKeys;
    widen(keys + begin * stride, stride, count, dims, wide);
    constexpr int kAtOnce = 8;
    for (int64_t j = 0; j < count; j += kAtOnce) {
      Floats<N> sum[kAtOnce] = {};
      // Behind the last key is what an earlier round left there; its sums are not looked at.
      for (int64_t d = 0; d < dims; ++d) {
        const Floats<N> x = load<N>(turned + d * N);
        for (int i = 0; i < kAtOnce; ++i)
          sum[i] = fused(x, splat<N>(wide[(j + i) * dims + d]), sum[i]);
      }
      for (int i = 0; i < kAtOnce && j + i < count; ++i) {
        const Ints<N> hidden = seen <= int32_t(begin + j + i);
        const Floats<N> score = hidden ? splat<N>(-INFINITY) : sum[i];
        most = score > most ? score : most;
        store<N>(weights + (begin + j + i) * N, score);
      }
    }
  }

  Floats<N> total = {};
  for (int64_t j = 0; j < span; ++j) {
    const Floats<N> weight = exponential<N>(load<N>(weights + j * N) - most);
    total += weight;
    store<N>(weights + j * N, weight);
  }

  std::memset(result, 0, sizeof(float) * dims * N);
  for (int64_t begin = 0; begin < span; begin += kKeys) {
    const int64_t count = span - begin < kKeys ? span - begin : kKeys;
    widen(values + begin * stride, stride, count, dims, wide);
    constexpr int kAtOnce = 8;
    for (int64_t d = 0; d < dims; d += kAtOnce) {
      const int here = int(dims - d < kAtOnce ? dims - d : kAtOnce);
      Floats<N> sum[kAtOnce] = {};
      for (int i = 0; i < here; ++i) sum[i] = load<N>(result + (d + i) * N);
      for (int64_t j = 0; j < count; ++j) {
        const Floats<N> weight = load<N>(weights + (begin + j) * N);
        for (int i = 0; i < kAtOnce; ++i)
          sum[i] = fused(weight, splat<N>(wide[j * dims + d + (i < here ? i : 0)]), sum[i]);
      }
      for (int i = 0; i < here; ++i) store<N>(result + (d + i) * N, sum[i]);
    }
  }
  for (int lane = 0; lane < q.count; ++lane)
    for (int64_t d = 0; d < dims; ++d)
      q.result[lane][d] = result[d * N + lane] / total[lane];
}

inline void attend_any(const Queries& q, const uint16_t* keys, const uint16_t* values,
                       int64_t stride, int64_t dims, float* scratch) {
  if (q.count <= 4 || kNative == 4)
    attend<4>(q, keys, values, stride, dims, scratch);
  else
    attend<kNative>(q, keys, values, stride, dims, scratch);
}

}  // namespace csm
