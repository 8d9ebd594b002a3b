// SPDX-License-Identifier: Apache-2.0
// Names to row numbers: the index beside a table of topics, users or groups. A row keeps its number
// while it lives; freed rows are given out again, the last one first.
// Thread: as its owner. Owner: holds the memory. Limits: `limit` rows of names up to `name_bytes`;
// pages that are never used are never touched.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/assert.h"
#include "mem/mapped_array.h"

namespace tidegate::session {

// The same on every shard (FNV-1a with splitmix64's finaliser; the upper half chooses a shard).
uint64_t hash_name(std::string_view name);
// The shard that decides for this name.
uint32_t home_shard(std::string_view name, uint32_t shards);

class NameTable {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  NameTable(uint32_t limit, uint32_t name_bytes)
      : limit_(limit),
        stride_(name_bytes),
        mask_(static_cast<uint32_t>(std::bit_ceil(size_t{limit < 4 ? 4 : limit} * 2)) - 1),
        buckets_(size_t{mask_} + 1),
        rows_(limit),
        names_(size_t{limit} * name_bytes) {}

  uint32_t find(std::string_view name) const;
  // A row for a name that has none; kNone when the table is full or the name too long or empty.
  uint32_t insert(std::string_view name);
  void erase(uint32_t row);

  std::string_view name(uint32_t row) const {
    return {names_.data() + size_t{row} * stride_, rows_[row].bytes};
  }
  bool used(uint32_t row) const { return row < high_water_ && rows_[row].bytes != 0; }
  uint32_t count() const { return count_; }
  uint32_t limit() const { return limit_; }
  // One past the highest row that was ever used: the end of a walk with used().
  uint32_t high_water() const { return high_water_; }
  bool full() const { return count_ == limit_; }
  uint64_t memory_bytes() const { return buckets_.bytes() + rows_.bytes() + names_.bytes(); }

 private:
  struct Row {
    uint32_t hash;
    uint16_t bytes;  // of the name; 0: free
    uint16_t unused;
    uint32_t next_free;
  };
  uint32_t limit_;
  uint32_t stride_;
  uint32_t mask_;
  uint32_t count_ = 0;
  uint32_t high_water_ = 0;
  uint32_t free_ = kNone;
  mem::MappedArray<uint32_t> buckets_;  // row + 1; 0: empty
  mem::MappedArray<Row> rows_;
  mem::MappedArray<char> names_;
};

}  // namespace tidegate::session
