// What is before the codec's convolutions: the vectors of the codes, and layers over a window.
#pragma once

#include "codec.h"

namespace csm {

inline void MimiDecoder::dequantise(const Team& team, FloatReader& from, const int64_t* codes) {
  const int64_t dim = m_.codebook_dim;
  const Range mine = team.share(count_);
  for (int64_t i = mine.begin; i < mine.end; ++i) {
    float* to = vectors_.at(i, 0);
    std::memset(to, 0, 4 * padded(vectors_.channels));
    for (int64_t book = 0; book < m_.codebooks; ++book) {
      const int64_t code = codes[streams_[i] * m_.codebooks + book];
      const float* vector = m_.table + (book * m_.codebook_size + code) * dim;
      float* sum = to + (m_.projected && book >= m_.semantic ? dim : 0);
      for (int64_t d = 0; d < dim; ++d) sum[d] += vector[d];
    }
  }
  team.wait();
  if (m_.projected)
    multiply(team, from.matrix(m_.hidden, padded(vectors_.channels)), vectors_, latent_);
  else
    for (int64_t i = mine.begin; i < mine.end; ++i)
      std::memcpy(latent_.at(i, 0), vectors_.at(i, 0), 4 * m_.hidden);
  team.wait();
}

inline void MimiDecoder::normalise(const Team& team, const Signal& x, const float* weight,
                                   const float* bias) {
  const Range mine = team.share(rows(x));
  const float size = float(m_.hidden);
  for (int64_t r = mine.begin; r < mine.end; ++r) {
    const float* row = x.row(r);
    float mean = 0.0f, square = 0.0f;
    for (int64_t c = 0; c < m_.hidden; ++c) mean += row[c];
    mean /= size;
    for (int64_t c = 0; c < m_.hidden; ++c) square += (row[c] - mean) * (row[c] - mean);
    const float factor = 1.0f / std::sqrt(square / size + float(m_.norm_eps));
    for (int64_t c = 0; c < m_.hidden; ++c)
      normed_.row(r)[c] = (row[c] - mean) * factor * weight[c] + bias[c];
  }
}

// Turns queries and keys, and writes keys and values into the ring.
inline void MimiDecoder::place_keys(const Team& team, float* cache) {
  const int64_t heads = m_.heads + 2 * m_.kv_heads, dims = m_.head_dim, half = dims / 2;
  const int64_t ring = m_.capacity - 1, kept = 2 * m_.kv_heads;
  const Range mine = team.share(rows(qkv_) * heads);
  for (int64_t at = mine.begin; at < mine.end; ++at) {
    const int64_t r = at / heads, head = at % heads;
    const int64_t stream = streams_[r / kPositions];
    const int64_t position = state_.steps[stream] * kPositions + r % kPositions;
    float* x = qkv_.row(r) + head * dims;
    if (head < m_.heads + m_.kv_heads)
      for (int64_t d = 0; d < half; ++d) {
        const float cos = angles_.row(r)[d], sin = angles_.row(r)[half + d];
        const float a = x[d], b = x[d + half];
        x[d] = a * cos - b * sin;
        x[d + half] = b * cos + a * sin;
      }
    if (head < m_.heads) continue;
    float* to = cache + ((stream * m_.capacity + position % ring) * kept + head - m_.heads) * dims;
    std::memcpy(to, x, 4 * dims);
  }
}

// q @ k for any number of dimensions.
inline float dot(const float* q, const float* k, int64_t dims) {
  Floats16 sum = splat16(0.0f);
  int64_t d = 0;
  for (; d + kLanes <= dims; d += kLanes) sum = fused16(load16(q + d), load16(k + d), sum);
  float rest = 0.0f;
  for (; d < dims; ++d) rest += q[d] * k[d];
  return sum16(sum) + rest;
}

inline void MimiDecoder::attend(const Team& team, const float* cache) {
  const int64_t dims = m_.head_dim, ring = m_.capacity - 1, kept = 2 * m_.kv_heads;
  const float scale = 1.0f / std::sqrt(float(dims));
  const Range mine = team.share(rows(qkv_) * m_.heads);
  std::vector<float> weights(up_to(m_.window, kLanes));
  for (int64_t at = mine.begin; at < mine.end; ++at) {
    const int64_t r = at / m_.heads, head = at % m_.heads, kv = head / (m_.heads / m_.kv_heads);
    const int64_t stream = streams_[r / kPositions];
    const int64_t position = state_.steps[stream] * kPositions + r % kPositions;
    const int64_t seen = position + 1 < m_.window ? position + 1 : m_.window;
    // The positions that are seen, oldest first, wherever in the ring they are.
    const auto each = [&](int64_t of, const auto& work) {
      int64_t slot = (position + 1 - seen) % ring;
      for (int64_t j = 0; j < seen; ++j, slot = slot + 1 == ring ? 0 : slot + 1)
        work(j, cache + ((stream * m_.capacity + slot) * kept + of) * dims);
    };
    const float* q = qkv_.row(r) + head * dims;
    float most = -INFINITY, total = 0.0f;
    each(kv, [&](int64_t j, const float* k) {
      weights[j] = dot(q, k, dims) * scale;
      most = weights[j] > most ? weights[j] : most;
    });
    for (int64_t j = seen; j < up_to(seen, kLanes); ++j) weights[j] = -INFINITY;
    for (int64_t j = 0; j < seen; j += kLanes)
      store16(&weights[j], exponential16(load16(&weights[j]) + splat16(-most)));
    float* to = mixed_.row(r) + head * dims;
    std::memset(to, 0, 4 * dims);
    each(m_.kv_heads + kv, [&](int64_t j, const float* v) {
      total += weights[j];
      for (int64_t d = 0; d < dims; ++d) to[d] += weights[j] * v[d];
    });
    for (int64_t d = 0; d < dims; ++d) to[d] /= total;
  }
}

inline void MimiDecoder::transform(const Team& team, FloatReader& from) {
  const auto onto = [&](const FloatMatrix& matrix, const Signal& y) {
    const float* scale = from.vector(m_.hidden);
    multiply_floats(
        team, matrix, rows(y), [&](int64_t r) { return y.row(r); },
        [&](int64_t r, int64_t o, const Floats16& v) {
          store16(x_.row(r) + o, fused16(load16(scale + o), v, load16(x_.row(r) + o)));
        });
  };
  const Range mine = team.share(rows(angles_));
  for (int64_t r = mine.begin; r < mine.end; ++r)
    for (int64_t d = 0; d < m_.head_dim / 2; ++d) {
      const int64_t position = state_.steps[streams_[r / kPositions]] * kPositions + r % kPositions;
      const float angle = float(position) * m_.frequencies[d];
      angles_.row(r)[d] = std::cos(angle);
      angles_.row(r)[m_.head_dim / 2 + d] = std::sin(angle);
    }
  for (int64_t layer = 0; layer < m_.layers; ++layer) {
    float* cache = state_.caches[layer];
    const float* weight = from.vector(m_.hidden);
    normalise(team, x_, weight, from.vector(m_.hidden));
    team.wait();
    multiply(team, from.matrix(qkv_.channels, padded(m_.hidden)), normed_, qkv_);
    team.wait();
    place_keys(team, cache);
    team.wait();
    attend(team, cache);
    team.wait();
    onto(from.matrix(m_.hidden, padded(mixed_.channels)), mixed_);
    team.wait();
    weight = from.vector(m_.hidden);
    normalise(team, x_, weight, from.vector(m_.hidden));
    team.wait();
    multiply_floats(
        team, from.matrix(m_.intermediate, padded(m_.hidden)), rows(normed_),
        [&](int64_t r) { return normed_.row(r); },
        [&](int64_t r, int64_t o, const Floats16& v) {
          float* to = inner_.row(r) + o;
          store16(to, v);
          for (int i = 0; i < kLanes; ++i)
            to[i] = 0.5f * to[i] * (1.0f + std::erf(to[i] * 0.70710678f));
        });
    team.wait();
    onto(from.matrix(m_.hidden, padded(m_.intermediate)), inner_);
    team.wait();
  }
}

}  // namespace csm
