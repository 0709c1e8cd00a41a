// Mimi's decoder: a frame of codes to 80 ms of sound, in float32, for several streams at once.
//
// All signals lie with the channels of a moment beside each other, padded to 16 with zeros: so a
// convolution over time is a product with rows that overlap, and its past lies before them.
#pragma once

#include <vector>

#include "arena.h"
#include "floats.h"

namespace csm {

constexpr int64_t kPositions = 2;  // Of the transformer, per frame.

// Mimi's decoder, as Python hands it over; all fields are 8 bytes.
struct Mimi {
  int64_t codebooks, codebook_size, codebook_dim, semantic, projected;
  int64_t hidden, layers, heads, kv_heads, head_dim, intermediate, window, capacity;
  int64_t filters, kernel, last_kernel, residual_kernel, compress, ratios;
  const int64_t* ratio;
  double norm_eps;
  const float* frequencies;  // [head_dim / 2], of the rotation.
  const float* weights;      // In the order in which they are read here.
  const float* table;        // [codebooks, codebook_size, codebook_dim]
};

// What streams remember, as `DecodeState` has it.
struct MimiState {
  const int64_t* steps;  // [streams]
  float* const* tails;  // Each [streams, channels, moments] or, of an upsampling, as it says there.
  float* const* caches;  // Each [streams, capacity, 2 * kv_heads, head_dim].
};

inline int64_t padded(int64_t channels) { return up_to(channels, kLanes); }

// Moments of several streams, with some of the past before them.
struct Signal {
  float* data;
  int64_t channels, before, time;  // Channels as they are; beside each other lie `padded` ones.

  float* at(int64_t stream, int64_t moment) const {
    return data + (stream * (before + time) + before + moment) * padded(channels);
  }
  float* row(int64_t r) const { return at(r / time, r % time); }
};

// e^x - 1 would lose its last digits near 0, where a series has them.
inline Floats16 elu16(const Floats16& x) {
  const Floats16 minus = splat16(-1.0f), zero = splat16(0.0f);
  const Floats16 below = larger16(x * minus, zero) * minus;
  const Floats16 far = exponential16(below) + minus;
  Floats16 near = splat16(1.0f / 5040);
  for (float c : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f})
    near = fused16(near, below, splat16(c));
  near = near * below;
  Floats16 y;
  CSM_EACH {
    const auto negative = below.part[i] < -0.25f ? far.part[i] : near.part[i];
    y.part[i] = x.part[i] > 0.0f ? x.part[i] : negative;
  }
  return y;
}

class MimiDecoder {
 public:
  MimiDecoder(const Mimi& mimi, const MimiState& state, const std::vector<int64_t>& streams)
      : m_(mimi), state_(state), streams_(streams), count_(int64_t(streams.size())) {}

  // Every thread of the team calls it: codes [streams, codebooks] to sound [streams, samples].
  void run(const Team& team, const int64_t* codes, float* sound);

  // Makes room for all signals; to be called before `run`.
  void prepare() {
    for (int round = 0; round < 2; ++round) {
      lay_out();
      if (round == 0) arena_.make();
    }
  }

 private:
  void lay_out();
  Signal signal(int64_t channels, int64_t before, int64_t time) {
    Signal s{nullptr, channels, before, time};
    const int64_t bytes = 4 * count_ * (before + time) * padded(channels);
    s.data = (float*)arena_.take(bytes);
    if (s.data && padded(channels) != channels) std::memset(s.data, 0, bytes);
    return s;
  }
  int64_t rows(const Signal& s) const { return count_ * s.time; }

  void dequantise(const Team& team, FloatReader& from, const int64_t* codes);
  void transform(const Team& team, FloatReader& from);
  void normalise(const Team& team, const Signal& x, const float* weight, const float* bias);
  void place_keys(const Team& team, float* cache);
  void attend(const Team& team, const float* cache);

  void multiply(const Team& team, const FloatMatrix& matrix, const Signal& x, const Signal& y) {
    multiply_floats(
        team, matrix, rows(x), [&](int64_t r) { return x.row(r); },
        [&](int64_t r, int64_t o, const Floats16& v) { store16(y.row(r) + o, v); });
  }

  // x [streams, channels, before] of the past comes before a signal, and the signal's end into it.
  void recall(const Team& team, const Signal& x, float* tail) const {
    each_past(team, x, tail, [](float& past, float& kept, float&) { past = kept; });
  }
  void remember(const Team& team, const Signal& x, float* tail) const {
    each_past(team, x, tail, [](float&, float& kept, float& last) { kept = last; });
  }
  template <class Do>
  void each_past(const Team& team, const Signal& x, float* tail, const Do& work) const {
    const Range mine = team.share(count_ * x.channels);
    for (int64_t at = mine.begin; at < mine.end; ++at) {
      const int64_t i = at / x.channels, c = at % x.channels;
      float* kept = tail + (streams_[i] * x.channels + c) * x.before;
      for (int64_t t = 0; t < x.before; ++t)
        work(x.at(i, t - x.before)[c], kept[t], x.at(i, x.time - x.before + t)[c]);
    }
  }

  // y = elu(x)
  void activate(const Team& team, const Signal& x, const Signal& y) const {
    const Range mine = team.share(rows(x));
    for (int64_t r = mine.begin; r < mine.end; ++r)
      for (int64_t c = 0; c < padded(x.channels); c += kLanes)
        store16(y.row(r) + c, elu16(load16(x.row(r) + c)));
  }

  void convolve(const Team& team, FloatReader& from, int64_t kernel, const Signal& x,
                const Signal& y, const Signal* onto = nullptr) const;
  void upsample(const Team& team, FloatReader& from, int64_t stride, const Signal& x, float* tail,
                const Signal& y) const;

  struct Stage {
    int64_t stride;
    Signal in, up, up_active, inner, inner_active;  // in and *_active: after the ELU.
  };

  const Mimi& m_;
  const MimiState& state_;
  const std::vector<int64_t>& streams_;
  int64_t count_;
  Arena arena_;
  Signal vectors_, latent_, x_, angles_, normed_, qkv_, mixed_, inner_, first_, last_, sound_;
  float* halves_;  // Of all upsamplings, one after the other.
  std::vector<Stage> stages_;
};

inline void MimiDecoder::lay_out() {
  const int64_t heads = m_.heads + 2 * m_.kv_heads;
  stages_.clear();
  vectors_ = signal(m_.projected ? 2 * m_.codebook_dim : m_.hidden, 0, 1);
  latent_ = signal(m_.hidden, 0, 1);
  x_ = signal(m_.hidden, m_.kernel - 1, kPositions);  // The first convolution's past is before it.
  angles_ = signal(m_.head_dim, 0, kPositions);       // Cosines, then sines.
  normed_ = signal(m_.hidden, 0, kPositions);
  qkv_ = signal(heads * m_.head_dim, 0, kPositions);
  mixed_ = signal(m_.heads * m_.head_dim, 0, kPositions);
  inner_ = signal(m_.intermediate, 0, kPositions);
  int64_t channels = m_.filters << m_.ratios, time = kPositions, most = 0;
  first_ = signal(channels, 0, time);
  for (int64_t i = 0; i < m_.ratios; ++i) {
    Stage s;
    s.stride = m_.ratio[i];
    s.in = signal(channels, 0, time);
    channels /= 2;
    const int64_t product = padded(2 * s.stride * channels) * time;
    most = product > most ? product : most;
    time *= s.stride;
    s.up = signal(channels, 0, time);
    s.up_active = signal(channels, m_.residual_kernel - 1, time);
    s.inner = signal(channels / m_.compress, 0, time);
    s.inner_active = signal(channels / m_.compress, 0, time);
    stages_.push_back(s);
  }
  last_ = signal(channels, m_.last_kernel - 1, time);
  sound_ = signal(1, 0, time);
  halves_ = (float*)arena_.take(4 * count_ * most);
}

// y = a convolution of x, whose past is before it; `onto` is added.
inline void MimiDecoder::convolve(const Team& team, FloatReader& from, int64_t kernel,
                                  const Signal& x, const Signal& y, const Signal* onto) const {
  const FloatMatrix matrix = from.matrix(y.channels, kernel * padded(x.channels));
  const float* bias = from.vector(y.channels);
  multiply_floats(
      team, matrix, rows(x), [&](int64_t r) { return x.at(r / x.time, r % x.time - (kernel - 1)); },
      [&](int64_t r, int64_t o, Floats16 v) {
        v = v + load16(bias + o);
        store16(y.row(r) + o, onto ? v + load16(onto->row(r) + o) : v);
      });
}

// A transposed convolution of kernel 2 * stride: a moment makes two halves of `stride` moments, the
// second of which is added to the next one's first; the last waits in the tail
// [streams, channels, stride].
inline void MimiDecoder::upsample(const Team& team, FloatReader& from, int64_t stride,
                                  const Signal& x, float* tail, const Signal& y) const {
  const int64_t half = stride * y.channels, width = padded(2 * half);
  const FloatMatrix matrix = from.matrix(2 * half, padded(x.channels));  // [2, stride, channels]
  const float* bias = from.vector(y.channels);
  multiply_floats(
      team, matrix, rows(x), [&](int64_t r) { return x.row(r); },
      [&](int64_t r, int64_t o, const Floats16& v) { store16(halves_ + r * width + o, v); });
  team.wait();
  const Range mine = team.share(rows(y));
  for (int64_t r = mine.begin; r < mine.end; ++r) {
    const int64_t i = r / y.time, t = r % y.time / stride, s = r % stride;
    const float* now = halves_ + (i * x.time + t) * width + s * y.channels;
    const float* kept = tail + streams_[i] * y.channels * stride + s;
    float* to = y.row(r);
    for (int64_t c = 0; c < y.channels; ++c)
      to[c] = now[c] + (t ? (now - width + half)[c] : kept[c * stride]) + bias[c];
  }
  team.wait();
  const Range kept = team.share(count_ * y.channels);
  for (int64_t at = kept.begin; at < kept.end; ++at) {
    const int64_t i = at / y.channels, c = at % y.channels;
    const float* last = halves_ + ((i + 1) * x.time - 1) * width + half + c;
    for (int64_t s = 0; s < stride; ++s)
      tail[(streams_[i] * y.channels + c) * stride + s] = last[s * y.channels];
  }
}

inline void MimiDecoder::run(const Team& team, const int64_t* codes, float* sound) {
  FloatReader from(m_.weights);
  float* const* tail = state_.tails;
  dequantise(team, from, codes);
  // The upsampling to 25 Hz is of each channel by itself: [2, stride, channels].
  const float* upsampling = from.vector(2 * kPositions * m_.hidden);
  const Range mine = team.share(count_);
  for (int64_t i = mine.begin; i < mine.end; ++i)
    for (int64_t t = 0; t < kPositions; ++t)
      for (int64_t c = 0; c < m_.hidden; ++c) {
        float& kept = tail[0][(streams_[i] * m_.hidden + c) * kPositions + t];
        const float x = latent_.at(i, 0)[c];
        x_.at(i, t)[c] = x * upsampling[t * m_.hidden + c] + kept;
        kept = x * upsampling[(kPositions + t) * m_.hidden + c];
      }
  ++tail;
  team.wait();
  transform(team, from);

  recall(team, x_, *tail);
  team.wait();
  convolve(team, from, m_.kernel, x_, first_);
  remember(team, x_, *tail++);
  team.wait();
  const Signal* x = &first_;
  for (const Stage& s : stages_) {
    activate(team, *x, s.in);
    team.wait();
    upsample(team, from, s.stride, s.in, *tail++, s.up);
    activate(team, s.up, s.up_active);
    recall(team, s.up_active, *tail);
    team.wait();
    convolve(team, from, m_.residual_kernel, s.up_active, s.inner);
    team.wait();
    remember(team, s.up_active, *tail++);
    activate(team, s.inner, s.inner_active);
    team.wait();
    convolve(team, from, 1, s.inner_active, s.up, &s.up);
    team.wait();
    x = &s.up;
  }
  activate(team, *x, last_);
  recall(team, last_, *tail);
  team.wait();
  convolve(team, from, m_.last_kernel, last_, sound_);
  remember(team, last_, *tail);
  team.wait();
  for (int64_t i = mine.begin; i < mine.end; ++i)
    for (int64_t t = 0; t < sound_.time; ++t)
      sound[streams_[i] * sound_.time + t] = sound_.at(i, t)[0];
}

}  // namespace csm
