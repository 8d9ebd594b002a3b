// SPDX-License-Identifier: Apache-2.0
#include "net/buffers.h"

#include <cstring>

namespace tidegate::net {

BufferId InputBuffers::grow(BufferId old, uint32_t used, uint32_t need) {
  if (old != kNone && capacity(old) >= need) return old;
  BufferId grown = kNone;
  for (uint32_t size_class = 0; size_class < pools_.size() && grown == kNone; ++size_class) {
    if (pools_[size_class].block_bytes() < need) continue;
    const uint32_t block = pools_[size_class].allocate();
    if (block != mem::BlockPool::kNone) grown = size_class << 28 | block;
  }
  if (grown != kNone && old != kNone) std::memcpy(data(grown), data(old), used);
  free(old);
  return grown;
}

uint64_t InputBuffers::memory_bytes() const {
  uint64_t sum = 0;
  for (const mem::BlockPool& pool : pools_) sum += pool.memory_bytes();
  return sum;
}

}  // namespace tidegate::net
