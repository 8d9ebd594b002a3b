// SPDX-License-Identifier: Apache-2.0
// Which gateways have somebody who sees a block of cells. Each says at intervals which blocks it
// watches; what it does not say any more fades away after two of them, so nothing has to be taken
// back and a lost message costs one interval. Past the limit a gateway is taken to watch all.
//
// Thread: shard. Owner: shard::Realm. Limits: `limit` blocks; all memory at construction.
#pragma once

#include <cstdint>

#include "mem/mapped_array.h"
#include "realm/batch.h"
#include "world/flat_map.h"

namespace tidegate::realm {

class Areas {
 public:
  explicit Areas(uint32_t limit);

  // The gateways of `mask` watch the block.
  void note(uint64_t mask, Block block);
  uint64_t watchers(Block block) const {
    const uint32_t i = index_.find(block.packed());
    const uint64_t all = all_now_ | all_before_;
    return i == world::CellMap::kAbsent ? all : all | rows_[i].now | rows_[i].before;
  }
  // An interval is over: what was not said in it nor in the one before is forgotten.
  void age();
  void forget(uint64_t mask);
  uint32_t count() const { return count_; }
  size_t bytes() const { return rows_.bytes() + index_.bytes(); }

 private:
  struct Row {
    uint64_t now, before;
    uint32_t key;
  };
  template <class Change>
  void change_all(Change&& change);

  mem::MappedArray<Row> rows_;
  world::CellMap index_;
  uint32_t count_ = 0;
  uint64_t all_now_ = 0, all_before_ = 0;
};

}  // namespace tidegate::realm
