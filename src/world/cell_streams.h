// SPDX-License-Identifier: Apache-2.0
// The cells a shard owns: members by slot, who reads them, what changed since the last frame.
// A slot names an entity inside its cell's frames. It is used again only after kSlotRestFrames
// images of the cell, several anchors later, so that a watcher of few layers never takes one entity
// for another; when that cannot be had, the cell begins anew with keyframes. Who left since the
// anchor is kept, because frames of layers tell it against the anchor.
// Members stand in blocks of 8 slots from one pool: a walk over a cell touches its blocks only and
// skips those without changes by one byte. Encoding is in cell_encoder.h.
// Thread: shard. Owner: WorldSlice. Limits: `cells` cells, `entities` members; an entity has at
// most one pending enter, and there are at most `entities` pending leaves, and twice as many that
// an anchor has yet to tell.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "mem/mapped_array.h"
#include "world/cell_key.h"
#include "world/entity_table.h"
#include "world/flat_map.h"
#include "world/layers.h"
#include "world/move_bytes.h"
#include "world/name_slab.h"

namespace tidegate::world {

inline constexpr uint32_t kSlotRestFrames = 64;
inline constexpr uint32_t kCellMembersMax = 60'000;  // slots are 16 bits, some rest
inline constexpr uint32_t kNone = UINT32_MAX;

// Change of membership that no frame has told yet.
struct CellEvent {
  enum Kind : uint8_t { kEnter, kLeave };
  uint32_t next;  // of the cell, in order of happening; kNone at the end
  uint32_t tick;  // when it happened
  EntityId entity;
  EntitySlot member;  // enter: where the entity is
  NameRef name;       // leave: owned copy of the player id
  CellKey other;      // came from or went to; valid with has_other
  uint32_t since;     // leave: Membership::since
  uint16_t slot;
  Kind kind;
  bool has_other;  // false: spawned, or left the world
};

// One who left after the cell's anchor.
struct GoneMember {
  uint32_t next;
  uint32_t since, left;  // numbers of the first image that had it and of the first that has not
  CellKey other;
  uint16_t slot;
  bool has_other;
};
// Checksum that a frame carried, or that was made of the cell as of that frame.
struct FrameChecksum {
  uint64_t value;
  uint32_t frame;
  uint32_t valid;
};
inline constexpr uint32_t kChecksumsKept = 4;  // of each cell

struct Cell {
  CellKey key;
  uint32_t first_block, last_block;  // ascending slots; kNone: no members
  uint32_t members;
  uint32_t frame;          // number of the last image
  uint32_t full_until;     // before this frame only the last block can have a free slot
  uint32_t base_tick;      // with `skipped`: the tick that watchers stand at
  uint32_t checksum_tick;  // when a delta last carried a checksum
  uint32_t first_event, last_event;
  uint32_t first_gone;                // GoneMember since the anchor
  uint32_t anchor_frame, half_frame;  // images that layers refer to; valid with anchored, half
  uint32_t anchor_tick, half_tick;
  uint64_t packed_at[kLevels];  // readers by level; bit: shard
  uint64_t protobuf_at[kLevels];
  uint64_t packed_readers;  // of any level
  uint64_t protobuf_readers;
  uint64_t requesters;  // shards behind `requests`
  uint32_t taken_tick;  // it came from another shard, which has encoded this tick; 0: never
  uint32_t work;        // records committed since the load was last read
  uint8_t requests;     // Request bits
  bool queued;          // in the list of cells to encode
  bool changed;         // a member's image changed
  bool skipped;         // its last encode did not fit the arena
  bool live;
  bool anchored;    // packed watchers hold the anchor's image
  bool half;        // ... and a layer 1 came after it
  bool dirty;       // something happened since the anchor was last told
  bool half_dirty;  // ... since the layer 1

  bool holds(uint32_t since, uint32_t image) const { return !is_after(since, image); }
  uint64_t readers_of(const uint64_t (&at)[kLevels], uint8_t levels) const {
    uint64_t shards = 0;
    for (uint32_t l = 0; l < kLevels; ++l) shards |= (levels >> l & 1) != 0 ? at[l] : 0;
    return shards;
  }
};

class CellStreams {
 public:
  CellStreams(uint32_t cells, uint32_t entities);

  // Index of the cell; kNone when it is not there.
  uint32_t find(CellKey key) const { return index_.find(key.packed()); }
  // The same, made when missing; kNone at the limit.
  uint32_t obtain(CellKey key);
  // True when obtain() would succeed.
  bool has_room(CellKey key) const;

  // Puts an entity into a cell: slot and enter event. `from`: the cell that its watchers knew it
  // in, nullptr for a new one. The membership of the entity is filled in.
  void enter(uint32_t cell, EntityTable& entities, EntitySlot s, const CellKey* from,
             uint32_t tick);
  // True when leave() may be called: there is room for the event and no frame of the cell is due
  // from an earlier tick (watchers learn of crossings in order).
  bool may_leave(uint32_t cell) const;
  // Takes it out. `to`: the cell it goes to. Returns true when its watchers knew it there; false:
  // its enter was never told, so it goes without a trace.
  bool leave(EntityTable& entities, EntitySlot s, const CellKey* to, uint32_t tick);
  // The member's image changed; the cell gets a frame.
  void touch(const Membership& membership) {
    mark(membership);
    queue(membership.cell);
  }
  // The same for a cell that stays in the queue anyway (inside drain_queue).
  void mark(const Membership& membership) {
    Block& block = blocks_[membership.member / kBlockSlots];
    const auto bit = static_cast<uint8_t>(1U << (membership.member % kBlockSlots));
    block.changed |= bit;
    block.since_anchor |= bit;
    block.since_half |= bit;
    Cell& cell = cells_[membership.cell];
    cell.changed = cell.dirty = cell.half_dirty = true;
  }
  void queue(uint32_t cell) {
    if (cells_[cell].queued) return;
    cells_[cell].queued = true;
    queue_[queue_count_++] = cell;
  }
  // Ends a frame: events and changes are forgotten, the frame number moves on, empty blocks whose
  // slots have rested are given back.
  void finish_frame(uint32_t cell, EntityTable& entities);
  // What the layers refer to is the last image from now on: visit(slot, entity) for each member
  // that changed or entered since (all of them when packed readers begin anew) takes it over.
  template <class Visit>
  void set_anchor(Cell& cell, uint32_t tick, Visit&& visit) {
    if (cell.anchored || cell.packed_readers == 0) {
      for_each_since_anchor(cell, visit);
    } else {
      for_each_member(cell, visit);
    }
    for (uint32_t b = cell.first_block; b != kNone; b = blocks_[b].next) {
      blocks_[b].since_anchor = blocks_[b].since_half = 0;
    }
    forget_gone(cell);
    cell.anchor_frame = cell.frame;
    cell.anchor_tick = tick;
    cell.anchored = cell.packed_readers != 0;
    cell.half = cell.dirty = cell.half_dirty = false;
  }
  template <class Visit>
  void set_half(Cell& cell, uint32_t tick, Visit&& visit) {
    for_each_since_anchor(cell, visit);
    for (uint32_t b = cell.first_block; b != kNone; b = blocks_[b].next) blocks_[b].since_half = 0;
    cell.half_frame = cell.frame;
    cell.half_tick = tick;
    cell.half = true;
    cell.half_dirty = false;
  }
  // Layers cannot go on from the anchor: the next one begins anew.
  void lose_anchor(Cell& cell) {
    cell.anchored = cell.half = false;
    forget_gone(cell);
  }
  // What clients' checksums of the frame are held against: the newest kChecksumsKept.
  void note_checksum(const Cell& cell, uint32_t frame, uint64_t value);
  // False: not known (any more).
  bool checksum_of(uint32_t cell, uint32_t frame, uint64_t* out) const;
  // Calls encode(cell) for each queued cell; those for which it returns false stay at the front of
  // the queue for the next time.
  template <class Encode>
  void drain_queue(Encode&& encode) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < queue_count_; ++i) {
      const uint32_t cell = queue_[i];
      cells_[cell].queued = false;
      if (encode(cell)) continue;
      cells_[cell].queued = true;
      queue_[kept++] = cell;
    }
    queue_count_ = kept;
  }
  // Frees the cell when it has neither members, readers nor events.
  void release_if_unused(uint32_t cell);

  // --- a cell that goes to the streams of another shard; cell_moves.cc ---
  // Behind an encode: true when nothing of it waits to be told.
  bool may_give(uint32_t cell) const {
    return cells_[cell].first_event == kNone && !cells_[cell].skipped;
  }
  // Writes the stream as it stands, then frees it. The members are to be written by the caller, in
  // the order of for_each_member().
  void give(uint32_t cell, MoveWriter& out);
  // Goes on with it. `members`: the entities in the same order; their memberships are filled in but
  // for `since` and `state`. The cell must be absent and obtain() must have room.
  uint32_t take(MoveReader& in, EntityTable& entities, std::span<const EntitySlot> members,
                uint32_t tick);
  // The most that give() writes of all cells together.
  static size_t give_bytes_max(uint32_t cells, uint32_t entities);
  // Calls visit(cell) for each cell there is.
  template <class Visit>
  void for_each_cell(Visit&& visit) {
    for (uint32_t i = 0; i < cells_used_; ++i) {
      if (cells_[i].live) visit(cells_[i]);
    }
  }

  Cell& cell(uint32_t i) { return cells_[i]; }
  const Cell& cell(uint32_t i) const { return cells_[i]; }
  CellEvent& event(uint32_t i) { return events_[i]; }
  const CellEvent& event(uint32_t i) const { return events_[i]; }
  const GoneMember& gone(uint32_t i) const { return gone_[i]; }
  std::string_view event_name(const CellEvent& e) const { return names_.view(e.name); }
  uint32_t count() const { return index_.count(); }
  uint32_t queued_count() const { return queue_count_; }
  uint64_t early_reuses() const { return early_reuses_; }
  size_t bytes() const;

  // Calls visit(slot, entity) for the members in ascending slots.
  template <class Visit>
  void for_each_member(const Cell& cell, Visit&& visit) const {
    walk(cell, visit, [](const Block& b) { return b.used; });
  }
  // The same for members whose image changed since the last frame.
  template <class Visit>
  void for_each_changed(const Cell& cell, Visit&& visit) const {
    walk(cell, visit, [](const Block& b) { return b.changed & b.used; });
  }
  // ... for members that changed or entered since the anchor, or since the layer 1.
  template <class Visit>
  void for_each_since_anchor(const Cell& cell, Visit&& visit) const {
    walk(cell, visit, [](const Block& b) { return b.since_anchor & b.used; });
  }
  template <class Visit>
  void for_each_since_half(const Cell& cell, Visit&& visit) const {
    walk(cell, visit, [](const Block& b) { return b.since_half & b.used; });
  }

 private:
  static constexpr uint32_t kBlockSlots = 8;
  static constexpr uint32_t kSlotsMax = 65'536;
  struct Block {
    uint32_t next;                 // of the cell or of the free list
    uint16_t base;                 // slot of place 0
    uint8_t used;                  // bit i: member[i] is an entity
    uint8_t changed;               // bit i: its image changed
    uint8_t since_anchor;          // ... or it entered, since the anchor
    uint8_t since_half;            // ... since the layer 1
    uint32_t member[kBlockSlots];  // used: EntitySlot; else: first frame that may use it again
  };

  template <class Visit, class Mask>
  void walk(const Cell& cell, Visit&& visit, Mask mask) const {
    for (uint32_t b = cell.first_block; b != kNone; b = blocks_[b].next) {
      const Block& block = blocks_[b];
      for (uint32_t bits = mask(block); bits != 0; bits &= bits - 1) {
        const auto i = static_cast<uint32_t>(__builtin_ctz(bits));
        visit(static_cast<uint16_t>(block.base + i), block.member[i]);
      }
    }
  }
  uint32_t take_place(Cell& cell);
  uint32_t free_place(uint32_t block, uint32_t frame) const;
  uint32_t earliest_rest(uint32_t block) const;
  uint32_t add_block(Cell& cell);
  uint32_t new_block();
  enum class Trim : uint8_t { kRested, kAllEmpty };
  void trim(Cell& cell, Trim what);
  uint32_t add_event(Cell& cell);
  void free_event(uint32_t event);
  void remember_gone(Cell& cell, const CellEvent& event);
  void forget_gone(Cell& cell);

  mem::MappedArray<Cell> cells_;
  mem::MappedArray<FrameChecksum> checksums_;  // kChecksumsKept of each cell
  CellMap index_;
  mem::MappedArray<Block> blocks_;
  mem::MappedArray<CellEvent> events_;
  mem::MappedArray<GoneMember> gone_;
  NameSlab names_;
  mem::MappedArray<uint32_t> queue_;
  uint32_t queue_count_ = 0;
  uint32_t free_cell_ = kNone, cells_used_ = 0;  // free list through first_block
  uint32_t free_block_ = kNone, blocks_used_ = 0;
  uint32_t free_event_ = kNone, events_used_ = 0;
  uint32_t free_gone_ = kNone, gone_used_ = 0, gone_count_ = 0;
  uint32_t leaves_ = 0, leaves_max_;
  uint64_t early_reuses_ = 0;
};

}  // namespace tidegate::world
