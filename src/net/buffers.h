// SPDX-License-Identifier: Apache-2.0
// Receive-side buffers for the few connections that are in the middle of something: an incomplete
// upgrade head, an incomplete frame, the earlier fragments of a message. Whole frames never come
// here. Three classes of fixed blocks; a buffer moves up a class when it must hold more.
// Thread: shard. Owner: Endpoint. Limits: BufferLimits, memory at construction.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"
#include "mem/block_pool.h"
#include "net/connection.h"

namespace tidegate::net {

struct BufferLimits {
  uint32_t small_count;   // 512 bytes: rests of frames
  uint32_t medium_count;  // head_bytes: upgrade heads, ordinary messages
  uint32_t medium_bytes;
  uint32_t big_count;  // a message of the largest size with its header
  uint32_t big_bytes;
};

class InputBuffers {
 public:
  explicit InputBuffers(const BufferLimits& limits)
      : pools_{{{limits.small_count, kSmallBytes},
                {limits.medium_count, limits.medium_bytes},
                {limits.big_count, limits.big_bytes}}} {}

  static constexpr uint32_t kSmallBytes = 512;

  uint8_t* data(BufferId id) { return pools_[id >> 28].data(id & kIndexMask); }
  uint32_t capacity(BufferId id) const { return pools_[id >> 28].block_bytes(); }

  // A buffer of at least `need` bytes that starts with the `used` bytes of `old` (kNone: none).
  // `old` is given back. kNone when no class is large enough or the pools are exhausted; `old` is
  // then given back too.
  BufferId grow(BufferId old, uint32_t used, uint32_t need);
  void free(BufferId id) {
    if (id != kNone) pools_[id >> 28].free(id & kIndexMask);
  }
  void charge_to(mem::Account* account) {
    for (mem::BlockPool& pool : pools_) pool.charge_to(account, mem::Rank::kInput);
  }
  uint64_t memory_bytes() const;
  uint64_t bytes_in_use() const {
    uint64_t sum = 0;
    for (const mem::BlockPool& pool : pools_) sum += uint64_t{pool.in_use()} * pool.block_bytes();
    return sum;
  }

 private:
  static constexpr uint32_t kIndexMask = (1u << 28) - 1;
  std::array<mem::BlockPool, 3> pools_;
};

}  // namespace tidegate::net
