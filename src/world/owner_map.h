// SPDX-License-Identifier: Apache-2.0
// Which shard owns a cell: the rule of cell_key.h, but for the cells that were moved
// (docs/decisions/ 0014-cell-moves.md). Every shard has its own copy; all are equal in every
// simulate phase, because a moved cell is announced before the FrameDone of its tick and the next
// tick waits until all have heard of it. Thread: shard. Owner: WorldSlice. Limits: `limit` cells
// away from the rule, and kSlack more for moves that several shards make in one tick.
#pragma once

#include <cstdint>

#include "world/flat_map.h"
#include "world/world_config.h"

namespace tidegate::world {

class OwnerMap {
 public:
  OwnerMap(uint32_t shard_count, uint32_t limit)
      : shard_count_(shard_count),
        limit_(shard_count > 1 ? limit : 0),
        moved_(limit_ == 0 ? 0 : limit_ + kSlack) {}

  base::ShardId owner(CellKey key) const {
    if (moved_.count() == 0) return owner_of(key, shard_count_);
    const uint32_t found = moved_.find(key.packed());
    return found == CellMap::kAbsent ? owner_of(key, shard_count_)
                                     : base::ShardId{static_cast<uint16_t>(found)};
  }
  // True when one more cell may be moved away from the rule, or this one back to it or on.
  bool may_move(CellKey key, base::ShardId to) const {
    return owner_of(key, shard_count_) == to || moved_.count() < limit_ ||
           moved_.find(key.packed()) != CellMap::kAbsent;
  }
  void move(CellKey key, base::ShardId to) {
    if (moved_.find(key.packed()) != CellMap::kAbsent) moved_.erase(key.packed());
    if (owner_of(key, shard_count_) == to) return;
    TG_ASSERT(moved_.count() < limit_ + kSlack);
    moved_.insert(key.packed(), to.value);
  }
  uint32_t moved() const { return moved_.count(); }  // cells away from the rule
  size_t bytes() const { return moved_.bytes(); }

 private:
  static constexpr uint32_t kSlack = 1024;  // kShardsMax shards that give 16 cells in a tick

  uint32_t shard_count_;
  uint32_t limit_;
  CellMap moved_;
};

}  // namespace tidegate::world
