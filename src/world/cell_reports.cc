// SPDX-License-Identifier: Apache-2.0
// The owner's side of the desync alarm: what clients say of its cells, and what it says itself.
#include "world/world_slice.h"

namespace tidegate::world {

ReportVerdict WorldSlice::judge_report(CellKey key, uint32_t frame, uint64_t checksum,
                                       uint64_t expected) {
  const uint32_t c = cells_.find(key);
  uint64_t own = 0;
  if (c != kNone) {
    const Cell& cell = cells_.cell(c);
    const bool idle = !cell.changed && !cell.skipped && cell.first_event == kNone;
    bool known = cells_.checksum_of(c, frame, &own);
    if (!known && idle && cell.frame == frame) {
      own = encoder_.checksum(cell);
      cells_.note_checksum(cell, frame, own);
      known = true;
    }
    if (known) return own == checksum ? ReportVerdict::kAgrees : ReportVerdict::kDiffers;
  }
  if (expected == 0) return ReportVerdict::kUnknown;
  return expected == checksum ? ReportVerdict::kAgrees : ReportVerdict::kDiffers;
}

uint32_t WorldSlice::rows_of(CellKey key, uint32_t tick, std::span<wire::CellRow> out,
                             uint32_t* in_past) const {
  *in_past = 0;
  const uint32_t c = cells_.find(key);
  if (c == kNone) return 0;
  const Cell& cell = cells_.cell(c);
  uint32_t n = 0;
  cells_.for_each_member(cell, [&](uint16_t slot, EntitySlot s) {
    if (n == out.size()) return;
    Image image = entities_.image(s);
    HistorySample past;
    if (history_.at(s, {tick, 0}, &past)) {
      image.position = past.position;
      image.yaw = past.yaw;
      image.flags = past.flags;
      ++*in_past;
    }
    out[n++] = encoder_.row(cell, slot, s, image);
  });
  return n;
}

}  // namespace tidegate::world
