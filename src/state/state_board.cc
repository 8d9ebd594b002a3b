// SPDX-License-Identifier: Apache-2.0
#include "state/state_board.h"

#include <algorithm>

#include "base/assert.h"

namespace tidegate::state {

StateBoard::StateBoard(uint32_t rows, uint32_t connections)
    : words_((rows + 63) / 64),
      rows_(rows),
      by_home_(rows),
      free_(rows),
      seen_(connections),
      has_(size_t{connections} * words_) {}

void StateBoard::put(uint32_t home, const BoardRow& from) {
  TG_ASSERT(home < by_home_.size());
  uint32_t r = by_home_[home] - 1;
  if (by_home_[home] == 0) {
    if (used_ < rows_.size()) {
      r = used_++;
    } else {
      // There are as many rows as states, so one is free.
      TG_ASSERT(free_count_ != 0);
      r = free_[free_head_];
      free_head_ = (free_head_ + 1) % static_cast<uint32_t>(free_.size());
      --free_count_;
      forgotten_ = std::max(forgotten_, rows_[r].epoch);
    }
    by_home_[home] = r + 1;
    ++live_;
  } else if (rows_[r].scope == Scope::kPlace) {
    --places_;
  }
  BoardRow& row = rows_[r];
  row = from;
  row.home = home;
  row.live = 1;
  row.epoch = ++epoch_;
  if (row.scope == Scope::kPlace) ++places_;
}

void StateBoard::remove(uint32_t home) {
  TG_ASSERT(home < by_home_.size());
  if (by_home_[home] == 0) return;
  const uint32_t r = by_home_[home] - 1;
  BoardRow& row = rows_[r];
  if (row.scope == Scope::kPlace) --places_;
  row.live = 0;
  row.home = kNone;
  row.epoch = ++epoch_;
  by_home_[home] = 0;
  --live_;
  const auto size = static_cast<uint32_t>(free_.size());
  free_[(free_head_ + free_count_) % size] = r;
  ++free_count_;
}

void StateBoard::begin(uint32_t connection) {
  seen_[connection] = {};
  std::fill_n(&has_[size_t{connection} * words_], words_, uint64_t{0});
}

}  // namespace tidegate::state
