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

// A tile of keys or values as float32; what comes next is fetched meanwhile, since it lies too far
// apart for the processor to see it coming.
inline void widen(const uint16_t* from, int64_t stride, int64_t count, int64_t dims, float* to,
                  int64_t to_stride) {
  for (int64_t j = 0; j < count; ++j) {
    for (int64_t d = 0; d < dims; d += 32) __builtin_prefetch(from + (j + kKeys) * stride + d);
    for (int64_t d = 0; d < dims; ++d) to[j * to_stride + d] = from_bfloat16(from[j * stride + d]);
  }
}

// Queries that share keys and values: where each is, where its result goes, how many keys it sees.
struct Queries {
  int count;
  const float* query[16];
  float* result[16];
  int64_t seen[16];
};

// Keys or values of one head in one slot.
struct Head {
  const uint16_t* data;
  int64_t stride, dims;  // In numbers.
};

// A stride known to the compiler saves it addresses; no power of two, for the sake of the cache.
constexpr int64_t kUsualDims = 80;

// Floats that attention needs beside its arguments.
inline int64_t attention_scratch(int64_t span, int64_t dims) {
  return (span + 2 * dims + 16) * 16 + (kKeys + 8) * (dims > kUsualDims ? dims : kUsualDims);
}

// Softmax attention of up to N queries, each a lane. A lane adds in the order of the keys, whatever
// the others are, and what it does not see adds exactly nothing. Widened keys are `Stride` apart,
// or, if that is 0, as far as they are long.
template <int N, int Stride>
class Attention {
 public:
  Attention(const Queries& q, int64_t dims, float* scratch)
      : q_(q),
        dims_(dims),
        turned_(scratch),
        result_(turned_ + dims * N),
        wide_(result_ + dims * N),
        weights_(wide_ + (kKeys + 8) * stride()) {}

  void run(const Head& keys, const Head& values) {
    turn();
    score(keys);
    const Floats<N> total = weigh();
    if (N < kNative && dims_ % kNative == 0)
      mix_few(values, total);
    else
      mix(values, total);
  }

 private:
  int64_t stride() const { return Stride ? Stride : dims_; }

  // The queries as [dims, N], scaled.
  void turn() {
    const float scale = 1.0f / std::sqrt(float(dims_));
    for (int lane = 0; lane < N; ++lane) {
      const bool real = lane < q_.count;
      for (int64_t d = 0; d < dims_; ++d)
        turned_[d * N + lane] = real ? q_.query[lane][d] * scale : 0.0f;
      seen_[lane] = real ? int32_t(q_.seen[lane]) : 1;
      if (seen_[lane] > span_) span_ = seen_[lane];
    }
  }

  void score(const Head& keys) {
    constexpr int kAtOnce = 8;
    for (int64_t begin = 0; begin < span_; begin += kKeys) {
      const int64_t count = span_ - begin < kKeys ? span_ - begin : kKeys;
      widen(keys.data + begin * keys.stride, keys.stride, count, dims_, wide_, stride());
      for (int64_t j = 0; j < count; j += kAtOnce) {
        // Behind the last key is what an earlier round left there; its sums are not looked at.
        const float* key = wide_ + j * stride();
        Floats<N> sum[kAtOnce] = {};
        for (int64_t d = 0; d < dims_; ++d) {
          const Floats<N> x = load<N>(turned_ + d * N);
          for (int i = 0; i < kAtOnce; ++i)
            sum[i] = fused(x, splat<N>(key[i * stride() + d]), sum[i]);
        }
        for (int i = 0; i < kAtOnce && j + i < count; ++i) {
          const Ints<N> hidden = seen_ <= int32_t(begin + j + i);
          const Floats<N> score = hidden ? splat<N>(-INFINITY) : sum[i];
          most_ = score > most_ ? score : most_;
          store<N>(weights_ + (begin + j + i) * N, score);
        }
      }
    }
  }

  Floats<N> weigh() {
    Floats<N> total = {};
    for (int64_t j = 0; j < span_; ++j) {
      const Floats<N> weight = exponential<N>(load<N>(weights_ + j * N) - most_);
      total += weight;
      store<N>(weights_ + j * N, weight);
    }
    return total;
  }

  // The values' sum, queries beside each other.
  void mix(const Head& values, const Floats<N>& total) {
    std::memset(result_, 0, sizeof(float) * dims_ * N);
    for (int64_t begin = 0; begin < span_; begin += kKeys) {
      const int64_t count = span_ - begin < kKeys ? span_ - begin : kKeys;
      widen(values.data + begin * values.stride, values.stride, count, dims_, wide_, stride());
      int64_t d = 0;
      for (; d + 8 <= dims_; d += 8) add<8>(begin, count, d);
      for (; d < dims_; ++d) add<1>(begin, count, d);
    }
    for (int lane = 0; lane < q_.count; ++lane)
      for (int64_t d = 0; d < dims_; ++d) q_.result[lane][d] = result_[d * N + lane] / total[lane];
  }

  template <int D>
  void add(int64_t begin, int64_t count, int64_t d) {
    Floats<N> sum[D];
    for (int i = 0; i < D; ++i) sum[i] = load<N>(result_ + (d + i) * N);
    for (int64_t j = 0; j < count; ++j) {
      const Floats<N> weight = load<N>(weights_ + (begin + j) * N);
      const float* value = wide_ + j * stride() + d;
      for (int i = 0; i < D; ++i) sum[i] = fused(weight, splat<N>(value[i]), sum[i]);
    }
    for (int i = 0; i < D; ++i) store<N>(result_ + (d + i) * N, sum[i]);
  }

  // The same sums with dimensions beside each other, which for few queries fill a register.
  void mix_few(const Head& values, const Floats<N>& total) {
    for (int64_t d = 0; d < dims_; d += 4 * kNative) {
      const int parts = int(dims_ - d < 4 * kNative ? (dims_ - d) / kNative : 4);
      if (parts == 4)
        add_few<4>(values, d);
      else
        for (int i = 0; i < parts; ++i) add_few<1>(values, d + i * kNative);
    }
    for (int lane = 0; lane < q_.count; ++lane)
      for (int64_t d = 0; d < dims_; ++d)
        q_.result[lane][d] = result_[lane * dims_ + d] / total[lane];
  }

  template <int D>
  void add_few(const Head& values, int64_t d) {
    Floats<kNative> sum[N][D] = {};
    for (int64_t j = 0; j < span_; ++j) {
      const uint16_t* value = values.data + j * values.stride + d;
      for (int i = 0; i < D; ++i) {
        __builtin_prefetch(value + kKeys * values.stride + i * kNative);
        const Floats<kNative> x = load_native_bfloat16(value + i * kNative);
        for (int lane = 0; lane < N; ++lane)
          sum[lane][i] = fused(splat<kNative>(weights_[j * N + lane]), x, sum[lane][i]);
      }
    }
    for (int lane = 0; lane < N; ++lane)
      for (int i = 0; i < D; ++i)
        store<kNative>(result_ + lane * dims_ + d + i * kNative, sum[lane][i]);
  }

  const Queries& q_;
  const int64_t dims_;
  float *turned_, *result_, *wide_;  // wide_: [kKeys + 8, stride]
  float* weights_;                   // [span, N]
  int64_t span_ = 0;
  Ints<N> seen_ = {};
  Floats<N> most_ = splat<N>(-INFINITY);
};

inline void attend(const Queries& q, const Head& keys, const Head& values, float* scratch) {
  const bool usual = keys.dims <= kUsualDims;
  if (q.count <= 4)
    usual ? Attention<4, kUsualDims>(q, keys.dims, scratch).run(keys, values)
          : Attention<4, 0>(q, keys.dims, scratch).run(keys, values);
  else
    usual ? Attention<kNative, kUsualDims>(q, keys.dims, scratch).run(keys, values)
          : Attention<kNative, 0>(q, keys.dims, scratch).run(keys, values);
}

}  // namespace csm
