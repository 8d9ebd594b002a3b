// SPDX-License-Identifier: Apache-2.0
#include "realm/areas.h"

namespace tidegate::realm {

Areas::Areas(uint32_t limit) : rows_(limit), index_(limit) {}

void Areas::note(uint64_t mask, Block block) {
  uint32_t i = index_.find(block.packed());
  if (i == world::CellMap::kAbsent) {
    if (count_ == rows_.size()) {
      all_now_ |= mask;
      return;
    }
    i = count_++;
    rows_[i] = {0, 0, block.packed()};
    index_.insert(block.packed(), i);
  }
  rows_[i].now |= mask;
}

template <class Change>
void Areas::change_all(Change&& change) {
  for (uint32_t i = 0; i < count_;) {
    Row& row = rows_[i];
    change(row);
    if ((row.now | row.before) != 0) {
      ++i;
      continue;
    }
    index_.erase(row.key);
    if (i != --count_) {
      row = rows_[count_];
      index_.erase(row.key);
      index_.insert(row.key, i);
    }
  }
}

void Areas::age() {
  all_before_ = all_now_;
  all_now_ = 0;
  change_all([](Row& row) {
    row.before = row.now;
    row.now = 0;
  });
}

void Areas::forget(uint64_t mask) {
  all_now_ &= ~mask;
  all_before_ &= ~mask;
  change_all([mask](Row& row) {
    row.now &= ~mask;
    row.before &= ~mask;
  });
}

}  // namespace tidegate::realm
