// Scratch memory for one call.
#pragma once

#include <vector>

#include "matrix.h"

namespace csm {

// Memory that is handed out piece by piece, uninitialised. It is kept for a thread's next call,
// since to ask the system for it and to give it back takes longer than some calls; so a thread has
// one arena at a time.
class Arena {
 public:
  void* take(int64_t bytes) {
    const int64_t begin = used_;
    used_ += up_to(bytes, 64);
    return base_ ? base_ + begin : nullptr;
  }
  // To be called between a first round of `take`, which only counts, and the second.
  void make() {
    static thread_local std::vector<uint8_t> memory;
    if (int64_t(memory.size()) < used_ + 64) memory.resize(used_ + 64);
    base_ = (uint8_t*)up_to((int64_t)memory.data(), 64);
    used_ = 0;
  }

 private:
  uint8_t* base_ = nullptr;
  int64_t used_ = 0;
};

}  // namespace csm
