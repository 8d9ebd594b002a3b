// SPDX-License-Identifier: Apache-2.0
#include "mem/block_pool.h"

namespace tidegate::mem {

uint32_t BlockPool::allocate() {
  uint32_t block;
  if (free_ == kNone && used_ == count_) return kNone;
  if (account_ != nullptr && !account_->charge(block_bytes_, rank_)) return kNone;
  if (free_ != kNone) {
    block = free_;
    free_ = next_[block];
  } else {
    block = used_++;
  }
  next_[block] = kTaken;
  ++in_use_;
  return block;
}

void BlockPool::free(uint32_t block) {
  TG_ASSERT(block < used_ && next_[block] == kTaken);
  next_[block] = free_;
  free_ = block;
  --in_use_;
  if (account_ != nullptr) account_->release(block_bytes_);
}

}  // namespace tidegate::mem
