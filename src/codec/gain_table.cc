// SPDX-License-Identifier: Apache-2.0
#include "codec/gain_table.h"

#include <algorithm>

namespace tidegate::codec {

void GainTable::note(uint32_t type, uint32_t raw, uint32_t packed) {
  Row& row = rows_[type % kTypes];
  if (packed != 0 && uint64_t{packed} * 100 <= uint64_t{raw} * kGoodPercent) {
    row = Row{};
    return;
  }
  // Behind a pause one bad try is enough for the next, longer one.
  if (row.next == 0 && ++row.bad < kTries) return;
  row.bad = 0;
  row.pause = std::max<uint16_t>(row.next, kPauseMin);
  row.next = static_cast<uint16_t>(std::min<uint32_t>(row.pause * 2u, kPauseMax));
}

uint32_t GainTable::paused() const {
  return static_cast<uint32_t>(
      std::count_if(rows_, rows_ + kTypes, [](const Row& r) { return r.pause != 0; }));
}

}  // namespace tidegate::codec
