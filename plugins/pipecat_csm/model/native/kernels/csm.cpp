// What Python calls, by ctypes: plain C functions of pointers and whole numbers.

#include <sys/mman.h>

#include "codec_transformer.h"
#include "frame.h"
#include "pack.h"

using namespace csm;

namespace {

void load_row(float* to, const uint16_t* from, int64_t size, int64_t stride) {
  for (int64_t i = 0; i < stride; ++i) to[i] = i < size ? from_bfloat16(from[i]) : 0.0f;
}

// norm(x) in bfloat16.
void store_normed(uint16_t* to, const float* x, const float* weight, int64_t size, float eps) {
  const float factor = norm_factor(x, size, eps);
  for (int64_t i = 0; i < size; ++i) to[i] = to_bfloat16(x[i] * factor * weight[i]);
}

}  // namespace

extern "C" {

// Hands over functions of the OpenMP library that torch uses.
void csm_use_threads(void* parallel, void* rank, void* size) {
  openmp.parallel = (void (*)(void (*)(void*), void*, unsigned, unsigned))parallel;
  openmp.rank = (int (*)())rank;
  openmp.size = (int (*)())size;
}

// Asks for large pages for memory that nothing has touched yet: with small ones the processor does
// not read ahead of a page's end, and the memory gives half of what it could.
void csm_prefer_large_pages(uint8_t* from, int64_t bytes) {
#if defined(MADV_HUGEPAGE)
  const int64_t page = 4096, begin = up_to((int64_t)from, page);
  const int64_t end = ((int64_t)from + bytes) / page * page;
  if (begin < end) madvise((void*)begin, end - begin, MADV_HUGEPAGE);
#else
  (void)from, (void)bytes;
#endif
}

// Packs a matrix whose rows, `rows` of them, are found by source->order, padded to 16 with -1.
void csm_pack(int64_t format, int64_t rows, int64_t columns, const Source* source, uint8_t* to,
              int threads) {
  const Matrix m = Reader(to).matrix(format, rows, columns);
  together(threads, [&](const Team& team) { pack(team, m, *source, to); });
}

// out [count, rows] float32 = x [count, columns] bfloat16 @ matrix.T
void csm_linear(int64_t format, int64_t rows, int64_t columns, const uint8_t* data,
                const uint16_t* x, int64_t count, float* out, int threads) {
  const Matrix m = Reader(data).matrix(format, rows, columns);
  Activations rounded;
  float* product;
  Arena arena;
  for (int round = 0; round < 2; ++round) {
    rounded = activations(arena, m.format, columns, count);
    product = (float*)arena.take(4 * count * m.rows);
    if (round == 0) arena.make();
  }
  together(threads, [&](const Team& team) {
    set_rows(team, rounded, count, columns, [&](int64_t r) { return x + r * columns; });
    team.wait();
    multiply(team, m, rounded, count, product, m.rows);
  });
  for (int64_t r = 0; r < count; ++r) std::memcpy(out + r * rows, product + r * m.rows, 4 * rows);
}

// Rows of a batch through all layers and the final norm.
//
// x, out [batch * time, hidden] bfloat16; positions, written [batch * time]; row r is of slot
// r / time. Rows that are written to `bin` are left out, and their outputs are 0. Attention sees
// the first `span` positions at most.
void csm_transformer(const Stack* stack, const Cache* cache, const uint16_t* x,
                     const int64_t* positions, const int64_t* written, int64_t count, int64_t time,
                     int64_t bin, int64_t span, uint16_t* out, int threads) {
  const Stack& s = *stack;
  std::vector<Row> rows;
  int64_t furthest = 1;
  for (int64_t r = 0; r < count; ++r) {
    if (written[r] == bin) continue;
    const int64_t seen = std::min(positions[r] + 1, span);
    rows.push_back({r, r / time, positions[r], written[r], seen});
    furthest = std::max(furthest, seen);
  }
  std::memset(out, 0, 2 * count * s.hidden);
  if (rows.empty()) return;
  const std::vector<Range> tiles = tiles_of(rows, s.heads / s.kv_heads);
  Arena arena;
  Workspace w;
  w.lay_out(arena, s, rows.size(), furthest, threads);
  arena.make();
  w.lay_out(arena, s, rows.size(), furthest, threads);
  together(threads, [&](const Team& team) {
    const Range mine = team.share(rows.size());
    for (int64_t r = mine.begin; r < mine.end; ++r)
      load_row(w.x + r * w.stride, x + rows[r].source * s.hidden, s.hidden, w.stride);
    team.wait();
    const float* norm = run_layers(team, s, *cache, rows, tiles, w);
    for (int64_t r = mine.begin; r < mine.end; ++r)
      store_normed(out + rows[r].source * s.hidden, w.x + r * w.stride, norm, s.hidden,
                   float(s.norm_eps));
  });
}

// The codes of a frame [slots, codebooks] in every slot that is active; those of others stay 0.
//
// hidden [slots, backbone_hidden] bfloat16, active [slots].
void csm_frame(const FrameMaker* maker, const Cache* cache, const Sampling* sampling,
               const uint16_t* hidden, const uint8_t* active, int64_t slots, int64_t* codes,
               int threads) {
  std::memset(codes, 0, 8 * slots * maker->codebooks);
  std::vector<int64_t> running;
  for (int64_t slot = 0; slot < slots; ++slot)
    if (active[slot]) running.push_back(slot);
  if (running.empty()) return;
  Frame frame(*maker, *cache, *sampling, running, threads);
  together(threads, [&](const Team& team) { frame.run(team, hidden, codes); });
}

// A frame's sound [streams, samples] from codes [streams, codebooks], of the streams that are
// active; that of others is 0.
void csm_decode(const Mimi* mimi, const MimiState* state, const int64_t* codes,
                const uint8_t* active, int64_t streams, int64_t samples, float* sound,
                int threads) {
  std::memset(sound, 0, 4 * streams * samples);
  std::vector<int64_t> running;
  for (int64_t stream = 0; stream < streams; ++stream)
    if (active[stream]) running.push_back(stream);
  if (running.empty()) return;
  MimiDecoder decoder(*mimi, *state, running);
  decoder.prepare();
  together(threads, [&](const Team& team) { decoder.run(team, codes, sound); });
}

}  // extern "C"
