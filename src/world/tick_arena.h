// SPDX-License-Identifier: Apache-2.0
// Bump memory for one tick's encoded bytes, one block for the shard's life. Other shards read what
// stands in it until their flush ends; the barrier makes reset() at the next encode safe.
// Thread: written by its shard, bytes read by any. Owner: shard. Limits: the size given.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/assert.h"
#include "base/bytes.h"
#include "mem/mapped_array.h"

namespace tidegate::world {

class TickArena {
 public:
  explicit TickArena(size_t bytes) : block_(bytes) {}

  void reset() {
    peak_ = used_ > peak_ ? used_ : peak_;
    used_ = 0;
  }
  // Everything that is free; write into it, then commit() what was used.
  base::MutableBytes rest() { return {block_.data() + used_, block_.size() - used_}; }
  void commit(size_t bytes) {
    TG_ASSERT(bytes <= block_.size() - used_);
    used_ += bytes;
  }
  // Aligned uninitialised array; nullptr when there is no room.
  template <class T>
  T* take(size_t count) {
    const size_t at = (used_ + alignof(T) - 1) & ~(alignof(T) - 1);
    if (at > block_.size() || count * sizeof(T) > block_.size() - at) return nullptr;
    used_ = at + count * sizeof(T);
    return reinterpret_cast<T*>(block_.data() + at);
  }
  size_t mark() const { return used_; }
  void rewind(size_t mark) { used_ = mark; }
  size_t size() const { return block_.size(); }
  size_t peak() const { return used_ > peak_ ? used_ : peak_; }

 private:
  mem::MappedArray<uint8_t> block_;
  size_t used_ = 0;
  size_t peak_ = 0;
};

// Bytes that hold the worst tick of a shard with `entities` entities: every one changes, and every
// cell is asked for everything in both encodings. Untouched pages cost no memory.
size_t tick_arena_bytes(uint32_t entities, uint32_t cells);

}  // namespace tidegate::world
