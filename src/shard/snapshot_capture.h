// SPDX-License-Identifier: Apache-2.0
// A shard's part of a snapshot of the world. At the boundary of the asked tick the entities are
// copied as records into memory taken at start, in one walk over arrays; from then on a piece a
// turn goes to control, and behind the entities the places of absent players, read from the
// directory as the walk gets there.
//
// The cut is one tick's: it is made when every shard has simulated that tick and before any
// simulates the next, so an entity that crosses between shards is in it exactly once. The directory
// needs no copy: what changes there after the cut belongs to players whose entity is in the cut (an
// entity counts more than a place of the same player), or who came later.
//
// Thread: shard. Owner: Shard. Limits: `entities` records; kPieceBytes to control in a turn; a new
// request takes the place of one that is not finished.
#pragma once

#include <cstdint>

#include "mailbox/mailboxes.h"
#include "mailbox/snapshot_record.h"
#include "mem/mapped_array.h"
#include "world/directory.h"
#include "world/world_slice.h"

namespace tidegate::shard {

class SnapshotCapture {
 public:
  static constexpr uint32_t kPieceBytes = 8 * 1024;
  // Directory entries looked at for one piece: most have no place to tell in a fresh world.
  static constexpr uint32_t kLooksPerTurn = 1024;

  // `entities` 0: snapshots are off, no memory is taken and requests are answered as missed.
  SnapshotCapture(uint32_t entities, uint32_t tick_rate);

  // A request for the cut at `tick`. `now_tick` is the tick that runs or is due next, `boundary`
  // whether its cut is still possible.
  enum class Boundary : uint8_t { kAhead, kPassed };
  void ask(uint32_t tick, uint32_t now_tick, Boundary boundary);
  bool due(uint32_t tick) const { return state_ == State::kAsked && asked_tick_ == tick; }
  // `slice`: whose entities they are; those that came with a cell in this tick are left out, their
  // last owner has them. Null: none came.
  void cut(uint32_t tick, const world::EntityTable& entities,
           const world::WorldSlice* slice = nullptr);
  // Sends the next piece when there is one and the ring takes it. Call once a turn.
  void send(const world::Directory& directory, mailbox::Mailbox& mailbox);

  bool sending() const { return state_ == State::kEntities || state_ == State::kPlaces; }
  uint64_t memory_bytes() const { return records_.bytes(); }

 private:
  enum class State : uint8_t { kIdle, kAsked, kEntities, kPlaces, kEnd, kMissed };

  uint32_t gather_entities();
  uint32_t gather_places(const world::Directory& directory);

  uint32_t tick_rate_;
  State state_ = State::kIdle;
  uint32_t asked_tick_ = 0;
  uint32_t records_sent_ = 0;
  uint32_t used_ = 0;  // bytes of records_
  uint32_t sent_ = 0;
  uint32_t next_place_ = 0;
  mem::MappedArray<uint8_t> records_;
  // The piece that is on its way; kept until the ring takes it.
  uint32_t piece_used_ = 0;
  uint32_t piece_records_ = 0;
  uint8_t piece_[kPieceBytes];
};

}  // namespace tidegate::shard
