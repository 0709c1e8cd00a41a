// The threads that torch has, doing one thing together.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <sched.h>

namespace csm {

// The OpenMP library that torch has loaded, handed in by Python: so nothing is linked against, and
// there is no second pool of threads that would spin beside torch's. Without it each call makes its
// threads anew, which takes some 50 microseconds.
struct OpenMP {
  void (*parallel)(void (*work)(void*), void* data, unsigned threads, unsigned flags) = nullptr;
  int (*rank)() = nullptr;
  int (*size)() = nullptr;
};

inline OpenMP openmp;

// A place where all wait for the last.
class Barrier {
 public:
  void wait(int size) {
    const uint32_t round = round_.load(std::memory_order_relaxed);
    if (waiting_.fetch_add(1, std::memory_order_acq_rel) + 1 == size) {
      waiting_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    // Others may need the core that the last one waits for.
    for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins) {
      if (spins < 4000)
        pause();
      else
        sched_yield();
    }
  }

 private:
  static void pause() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("isb");
#endif
  }

  alignas(64) std::atomic<int> waiting_{0};
  alignas(64) std::atomic<uint32_t> round_{0};
};

struct Range {
  int64_t begin, end;
};

// One thread's view of those that work together.
struct Team {
  int rank, size;
  Barrier* barrier;

  void wait() const {
    if (size > 1) barrier->wait(size);
  }

  // This thread's part of `count` things.
  Range share(int64_t count) const { return {count * rank / size, count * (rank + 1) / size}; }
};

// Has `threads` threads call work(team); returns when all have.
template <class Work>
void together(int threads, const Work& work) {
  Barrier barrier;
  if (threads < 2) {
    work(Team{0, 1, &barrier});
    return;
  }
  if (!openmp.parallel) {
    std::vector<std::thread> others;
    for (int rank = 1; rank < threads; ++rank)
      others.emplace_back([&, rank] { work(Team{rank, threads, &barrier}); });
    work(Team{0, threads, &barrier});
    for (std::thread& other : others) other.join();
    return;
  }
  struct Call {
    const Work* work;
    Barrier* barrier;
  } call{&work, &barrier};
  openmp.parallel(
      [](void* data) {
        const Call* call = static_cast<const Call*>(data);
        (*call->work)(Team{openmp.rank(), openmp.size(), call->barrier});
      },
      &call, unsigned(threads), 0);
}

}  // namespace csm
