// SPDX-License-Identifier: Apache-2.0
// Open-addressing map from a 32-bit key to a 32-bit value with linear probing and backward-shift
// deletion: no tombstones, so its speed does not age. 8 bytes a bucket, at most four fifths full:
// three probes for a hit, and half the memory of a table that is never above one half.
// Thread: as its owner. Owner: holds the memory. Limits: `limit` entries; the value kAbsent is
// reserved.
#pragma once

#include <bit>
#include <cstdint>

#include "base/assert.h"
#include "mem/mapped_array.h"
#include "world/cell_key.h"

namespace tidegate::world {

// Hash spreads keys over buckets; its low bits choose the bucket.
template <uint32_t (*Hash)(uint32_t)>
class BasicFlatMap {
 public:
  static constexpr uint32_t kAbsent = UINT32_MAX;

  explicit BasicFlatMap(uint32_t limit)
      : buckets_(std::bit_ceil(static_cast<size_t>(limit < 4 ? 4 : limit) * 5 / 4 + 1)),
        mask_(static_cast<uint32_t>(buckets_.size() - 1)) {}

  uint32_t find(uint32_t key) const {
    for (uint32_t i = Hash(key) & mask_;; i = (i + 1) & mask_) {
      if (buckets_[i].value == 0) return kAbsent;
      if (buckets_[i].key == key) return buckets_[i].value - 1;
    }
  }
  // The key must be absent.
  void insert(uint32_t key, uint32_t value) {
    TG_ASSERT(count_ + 1 < buckets_.size() && value != kAbsent);
    uint32_t i = Hash(key) & mask_;
    while (buckets_[i].value != 0) i = (i + 1) & mask_;
    buckets_[i] = {key, value + 1};
    ++count_;
  }
  // The key must be present.
  void erase(uint32_t key) {
    uint32_t i = Hash(key) & mask_;
    while (buckets_[i].key != key || buckets_[i].value == 0) {
      TG_ASSERT(buckets_[i].value != 0);
      i = (i + 1) & mask_;
    }
    for (uint32_t j = (i + 1) & mask_; buckets_[j].value != 0; j = (j + 1) & mask_) {
      const uint32_t home = Hash(buckets_[j].key) & mask_;
      if (((j - home) & mask_) >= ((j - i) & mask_)) {
        buckets_[i] = buckets_[j];
        i = j;
      }
    }
    buckets_[i] = {0, 0};
    --count_;
  }
  uint32_t count() const { return count_; }
  size_t bytes() const { return buckets_.bytes(); }

 private:
  struct Bucket {
    uint32_t key;
    uint32_t value;  // stored + 1; 0: empty, so zeroed memory is an empty map
  };
  mem::MappedArray<Bucket> buckets_;
  uint32_t mask_;
  uint32_t count_ = 0;
};

using FlatMap = BasicFlatMap<mix32>;

// Of packed CellKeys: squares of 8 x 8 cells lie together in 64 buckets, half a KiB. Cells are used
// in neighbourhoods, so a small world touches few pages of a table that is made for a large one,
// and a watcher's cells share cache lines.
constexpr uint32_t hash_cell(uint32_t packed) {
  const uint32_t x = packed >> 16;
  const uint32_t z = packed & 0xffff;
  return mix32((x >> 3) << 16 | z >> 3) << 6 | (x & 7) << 3 | (z & 7);
}
using CellMap = BasicFlatMap<hash_cell>;

}  // namespace tidegate::world
