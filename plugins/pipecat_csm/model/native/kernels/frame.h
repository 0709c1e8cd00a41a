// All codes of a frame: the depth decoder, its heads and the draws, without leaving the threads.
#pragma once

#include "sample.h"
#include "transformer.h"

namespace csm {

// What makes a frame of codes, as Python hands it over; all fields are 8 bytes.
struct FrameMaker {
  const Stack* depth;
  int64_t codebooks, vocabulary, legal;  // Codes from `legal` on are never drawn.
  int64_t backbone_hidden;
  int64_t format;             // Of the following matrices.
  const uint8_t* first_head;  // [vocabulary, backbone_hidden]
  const uint8_t* projection;  // [depth hidden, backbone_hidden]
  const uint8_t* heads;       // codebooks - 1 of [vocabulary, depth hidden]
  const uint16_t* inputs;     // bfloat16 [codebooks - 1, vocabulary, depth hidden]
};

class Frame {
 public:
  Frame(const FrameMaker& maker, const Cache& cache, const Sampling& sampling,
        const std::vector<int64_t>& slots, int threads)
      : maker_(maker),
        s_(*maker.depth),
        cache_(cache),
        sampling_(sampling),
        slots_(slots),
        count_(int64_t(slots.size())),
        order_(threads) {
    for (int round = 0; round < 2; ++round) {
      lay_out(threads);
      if (round == 0) arena_.make();
    }
    std::memset(w_.x, 0, 4 * 2 * count_ * w_.stride);  // What is behind a row's end stays 0.
    for (int64_t codebook = 0; codebook < maker.codebooks; ++codebook) {
      std::vector<Row> rows;
      // With the first code comes what the backbone made, a position before it.
      for (int64_t i = 0; i < count_; ++i)
        for (int64_t p = codebook == 1 ? 0 : codebook; p <= codebook; ++p)
          rows.push_back({i, slots[i], p, p, p + 1});
      tiles_.push_back(tiles_of(rows, s_.heads / s_.kv_heads));
      rows_.push_back(std::move(rows));
    }
  }

  // Every thread of the team calls it. `hidden` [slots, backbone_hidden], codes [slots, codebooks].
  void run(const Team& team, const uint16_t* hidden, int64_t* codes) {
    const int64_t width = maker_.backbone_hidden;
    const Range mine = team.share(count_);
    set_rows(team, from_backbone_, count_, width,
             [&](int64_t i) { return hidden + slots_[i] * width; });
    team.wait();
    Reader first(maker_.first_head), second(maker_.projection), heads(maker_.heads);
    multiply(team, legal(first.matrix(maker_.format, maker_.vocabulary, width)), from_backbone_,
             count_, logits_, logit_stride_);
    // Into every other row: the next one is the first code's.
    multiply(team, second.matrix(maker_.format, s_.hidden, width), from_backbone_, count_, w_.x,
             2 * w_.stride);
    team.wait();
    // As torch feeds it, so that both ways give the same codes.
    for (int64_t i = mine.begin; i < mine.end; ++i)
      for (int64_t d = 0; d < s_.hidden; ++d) {
        float& x = w_.x[2 * i * w_.stride + d];
        x = rounded_to_bfloat16(x);
      }
    draw(team, 0, codes, 2 * w_.stride, w_.stride);
    for (int64_t codebook = 1; codebook < maker_.codebooks; ++codebook) {
      team.wait();
      const float* norm = run_layers(team, s_, cache_, rows_[codebook], tiles_[codebook], w_);
      const int64_t before = codebook == 1 ? 1 : 0;  // Rows whose outcome nobody needs.
      normalise(team, w_.x + before * w_.stride, (1 + before) * w_.stride, count_, norm, s_.hidden,
                float(s_.norm_eps), to_head_, rounded_to_bfloat16);
      team.wait();
      multiply(team, legal(heads.matrix(maker_.format, maker_.vocabulary, s_.hidden)), to_head_,
               count_, logits_, logit_stride_);
      team.wait();
      draw(team, codebook, codes, w_.stride, 0);
    }
  }

 private:
  void lay_out(int threads) {
    const Format format = Format(maker_.format);
    w_.lay_out(arena_, s_, 2 * count_, maker_.codebooks, threads);
    from_backbone_ = activations(arena_, format, maker_.backbone_hidden, count_);
    to_head_ = activations(arena_, format, s_.hidden, count_);
    logit_stride_ = up_to(maker_.vocabulary, kLanes);
    logits_ = (float*)arena_.take(4 * count_ * logit_stride_);
  }

  // A head without the rows of codes that are never drawn.
  Matrix legal(Matrix head) const {
    head.rows = up_to(maker_.legal, kLanes);
    return head;
  }

  // This thread's part of drawing a code for each slot, and of its input to what follows, which
  // goes to w.x + slot * stride + offset.
  void draw(const Team& team, int64_t codebook, int64_t* codes, int64_t stride, int64_t offset) {
    const Range mine = team.share(count_);
    for (int64_t i = mine.begin; i < mine.end; ++i) {
      const int64_t code = sample(logits_ + i * logit_stride_, maker_.legal, sampling_, slots_[i],
                                  codebook, order_[team.rank]);
      codes[slots_[i] * maker_.codebooks + codebook] = code;
      if (codebook + 1 == maker_.codebooks) continue;
      const uint16_t* input = maker_.inputs + (codebook * maker_.vocabulary + code) * s_.hidden;
      float* to = w_.x + i * stride + offset;
      for (int64_t d = 0; d < w_.stride; ++d)
        to[d] = d < s_.hidden ? from_bfloat16(input[d]) : 0.0f;
    }
  }

  const FrameMaker& maker_;
  const Stack& s_;
  const Cache& cache_;
  const Sampling& sampling_;
  const std::vector<int64_t>& slots_;
  int64_t count_;
  std::vector<std::vector<float>> order_;  // Of each thread.
  std::vector<std::vector<Row>> rows_;     // Of each codebook, as `tiles_`.
  std::vector<std::vector<Range>> tiles_;
  Arena arena_;
  Workspace w_;
  Activations from_backbone_, to_head_;
  float* logits_;
  int64_t logit_stride_;
};

}  // namespace csm
