// SPDX-License-Identifier: Apache-2.0
// Blocks of one size, by index. Exhaustion is an answer, not an error of ours. The block freed last
// is given out first, so that few pages are in use when few blocks are.
// Thread: as its owner. Owner: holds the memory. Limits: count and block size at construction.
#pragma once

#include <cstdint>

#include "base/assert.h"
#include "mem/budget.h"
#include "mem/mapped_array.h"

namespace tidegate::mem {

class BlockPool {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  BlockPool(uint32_t count, uint32_t block_bytes)
      : count_(count),
        block_bytes_(block_bytes),
        data_(size_t{count} * block_bytes),
        next_(count) {}

  // From now on each block that is out is charged; allocate() then also says kNone when the budget
  // refuses. Before the first allocate(). Null: no budget.
  void charge_to(Account* account, Rank rank) {
    TG_ASSERT(in_use_ == 0);
    account_ = account;
    rank_ = rank;
  }

  // kNone when all blocks are out.
  uint32_t allocate();
  void free(uint32_t block);

  uint8_t* data(uint32_t block) {
    TG_ASSERT(block < count_);
    return data_.data() + size_t{block} * block_bytes_;
  }
  const uint8_t* data(uint32_t block) const {
    TG_ASSERT(block < count_);
    return data_.data() + size_t{block} * block_bytes_;
  }
  uint32_t block_bytes() const { return block_bytes_; }
  uint32_t in_use() const { return in_use_; }
  uint32_t count() const { return count_; }
  uint64_t memory_bytes() const { return data_.bytes() + next_.bytes(); }

 private:
  static constexpr uint32_t kTaken = UINT32_MAX - 1;  // in next_: given out

  uint32_t count_;
  uint32_t block_bytes_;
  uint32_t used_ = 0;      // blocks ever given out
  uint32_t free_ = kNone;  // head of the list of freed blocks
  uint32_t in_use_ = 0;
  Account* account_ = nullptr;
  Rank rank_ = Rank::kKept;
  MappedArray<uint8_t> data_;
  MappedArray<uint32_t> next_;
};

}  // namespace tidegate::mem
