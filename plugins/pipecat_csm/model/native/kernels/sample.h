// Draws of codes: what `sampling.py` says, in one pass.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace csm {

// How slots sample, as `Sampling` has it; one element a slot, of `key` two.
struct Sampling {
  const float* temperature;
  const int64_t* top_k;
  const float* min_p;
  const int64_t* key;
  const int64_t* frame;
  int64_t most;  // No slot's top-k is larger.
};

// C. Wellons' "lowbias32".
inline uint32_t mix(uint32_t x) {
  x = (x ^ (x >> 16)) * 0x7FEB352Du;
  x = (x ^ (x >> 15)) * 0x846CA68Bu;
  return x ^ (x >> 16);
}

// The noise of a code; in float64, so that every machine's logarithm gives the same float32.
inline float gumbel(uint32_t place, uint32_t code) {
  const uint32_t bits = mix(place ^ mix(code + 1));
  const double uniform = (double(bits >> 9) + 0.5) * 0x1p-23;
  return float(-std::log(-std::log(uniform)));
}

// A slot's code of one codebook, from the logits of `count` codes. `order` is of the thread.
inline int64_t sample(const float* logits, int64_t count, const Sampling& how, int64_t slot,
                      int64_t codebook, std::vector<float>& order) {
  const int64_t likeliest = std::max_element(logits, logits + count) - logits;
  if (!(how.temperature[slot] > 0.0f)) return likeliest;
  const float temperature = std::max(how.temperature[slot], 1e-5f);
  const float lowest = float(std::log(double(std::max(how.min_p[slot], 1e-30f))));
  const float floor = logits[likeliest] / temperature + lowest;

  int64_t left = std::min(how.most, count);
  if (how.top_k[slot] > 0) left = std::min(left, how.top_k[slot]);
  order.assign(logits, logits + count);
  std::nth_element(order.begin(), order.begin() + (left - 1), order.end(), std::greater<float>());
  const float least = order[left - 1];
  // Of those that tie for the last place the first are taken.
  int64_t ties = left - std::count_if(logits, logits + count, [=](float x) { return x > least; });

  uint32_t place =
      mix(uint32_t(how.key[2 * slot]) ^ mix(uint32_t(how.frame[slot] * 256 + codebook)));
  place = mix(place + uint32_t(how.key[2 * slot + 1]));
  int64_t drawn = likeliest;
  float best = -INFINITY;
  for (int64_t code = 0; code < count; ++code) {
    if (logits[code] < least || (logits[code] == least && ties-- <= 0)) continue;
    const float score = logits[code] / temperature;
    if (score < floor) continue;
    const float noisy = score + gumbel(place, uint32_t(code));
    if (noisy > best) {
      best = noisy;
      drawn = code;
    }
  }
  return drawn;
}

}  // namespace csm
