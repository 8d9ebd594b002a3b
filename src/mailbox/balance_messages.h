// SPDX-License-Identifier: Apache-2.0
// Messages about cells that change their owner: the order, the move itself, the end of it, and the
// loads that orders follow from. docs/decisions/0014-cell-moves.md.
// Thread: any. Owner: values. Limits: kCellsReportedMax cells in a report.
#pragma once

#include "mailbox/messages.h"

namespace tidegate::mailbox {

// One cell to go from the receiver to `to`. The tail of MoveCells is an array of them.
struct CellOrder {
  int16_t cell_x;
  int16_t cell_z;
  uint16_t to;
  uint16_t unused = 0;
};

// Control to the owner of cells: give them away when nothing stands against it. What cannot go
// within a second is forgotten. Drop (the balancer sees that nothing came of it).
struct MoveCells {
  static constexpr MessageType kType = MessageType::kMoveCells;
  uint32_t count;
};

// The owner of a cell to every other shard, behind its encode and before its FrameDone of `tick`:
// from now on the cell is `to`'s, which finds it at `data`. The memory lives until the sender has
// everybody's MovesTaken. Keep.
struct CellMoved {
  static constexpr MessageType kType = MessageType::kCellMoved;
  int16_t cell_x;
  int16_t cell_z;
  uint16_t to;
  uint16_t unused = 0;
  uint32_t tick;
  uint32_t unused2 = 0;
  const uint8_t* data;
  uint64_t bytes;
};

// Barrier, only of ticks in which cells moved: the sender has flushed `tick`, and with it heard of
// all its moves and taken its cells. Keep.
struct MovesTaken {
  static constexpr MessageType kType = MessageType::kMovesTaken;
  uint32_t tick;
};

// What a cell is of a shard's load.
struct CellLoad {
  int16_t cell_x;
  int16_t cell_z;
  uint32_t entities;
  uint32_t others;   // of them no players
  uint32_t records;  // image changes encoded since the last report
};
inline constexpr uint32_t kCellsReportedMax = 512;

// A shard to control, at every balance interval: medians of its ticks since the last report, and
// its cells with the most work. The tail is an array of CellLoad. Drop.
struct ShardLoad {
  static constexpr MessageType kType = MessageType::kShardLoad;
  uint32_t tick;
  uint32_t entities;
  uint32_t entities_limit;
  uint32_t others;  // entities that are no players
  uint32_t others_limit;
  uint32_t watchers;   // connections that see the world
  uint32_t world_ns;   // of a tick: simulate and encode, which go with the cells
  uint32_t flush_ns;   // ... and the sends, which stay with the connections; shown only
  uint32_t cells_out;  // cells that it gave away since the start
  uint32_t cells_in;   // ... and took
  uint64_t records;    // of all its cells since the last report
};

}  // namespace tidegate::mailbox
