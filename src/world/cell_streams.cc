// SPDX-License-Identifier: Apache-2.0
#include "world/cell_streams.h"

#include <algorithm>

#include "base/assert.h"

namespace tidegate::world {

// Every block that is not empty holds an entity, and empty ones can be taken back from any cell:
// as many blocks as entities always suffice.
CellStreams::CellStreams(uint32_t cells, uint32_t entities)
    : cells_(cells),
      checksums_(size_t{cells} * kChecksumsKept),
      index_(cells),
      blocks_(entities),
      events_(size_t{entities} * 2),
      gone_(size_t{entities} * 2),
      names_(entities),
      queue_(cells),
      leaves_max_(entities) {}

uint32_t CellStreams::obtain(CellKey key) {
  const uint32_t found = find(key);
  if (found != kNone) return found;
  uint32_t i = free_cell_;
  if (i != kNone) {
    free_cell_ = cells_[i].first_block;
    // Those of the cell that was here; a place never used has none and stays untouched.
    for (uint32_t c = 0; c < kChecksumsKept; ++c) checksums_[i * kChecksumsKept + c].valid = 0;
  } else if (cells_used_ < cells_.size()) {
    i = cells_used_++;
  } else {
    return kNone;
  }
  Cell& cell = cells_[i];
  cell = Cell{};
  cell.key = key;
  cell.first_block = cell.last_block = kNone;
  cell.first_event = cell.last_event = cell.first_gone = kNone;
  cell.full_until = UINT32_MAX;
  cell.live = true;
  index_.insert(key.packed(), i);
  return i;
}

// The same frame takes the place of itself, else the oldest goes.
void CellStreams::note_checksum(const Cell& cell, uint32_t frame, uint64_t value) {
  const auto i = static_cast<size_t>(&cell - cells_.data());
  FrameChecksum* const kept = checksums_.data() + i * kChecksumsKept;
  FrameChecksum* place = kept;
  for (uint32_t c = 0; c < kChecksumsKept; ++c) {
    FrameChecksum& candidate = kept[c];
    if (candidate.valid == 0 || candidate.frame == frame) {
      place = &candidate;
      break;
    }
    if (frame - candidate.frame > frame - place->frame) place = &candidate;
  }
  *place = {value, frame, 1};
}

bool CellStreams::checksum_of(uint32_t cell, uint32_t frame, uint64_t* out) const {
  const FrameChecksum* const kept = checksums_.data() + size_t{cell} * kChecksumsKept;
  for (uint32_t c = 0; c < kChecksumsKept; ++c) {
    if (kept[c].valid == 0 || kept[c].frame != frame) continue;
    *out = kept[c].value;
    return true;
  }
  return false;
}

bool CellStreams::has_room(CellKey key) const {
  const uint32_t found = find(key);
  if (found != kNone) return cells_[found].members < kCellMembersMax;
  return free_cell_ != kNone || cells_used_ < cells_.size();
}

void CellStreams::release_if_unused(uint32_t i) {
  Cell& cell = cells_[i];
  if (cell.members != 0 || cell.first_event != kNone || cell.queued || cell.requests != 0 ||
      (cell.packed_readers | cell.protobuf_readers) != 0) {
    return;
  }
  trim(cell, Trim::kAllEmpty);
  forget_gone(cell);
  index_.erase(cell.key.packed());
  cell.live = false;
  cell.first_block = free_cell_;
  free_cell_ = i;
}

// --- places ---

// A place of the block that nobody used in the last kSlotRestFrames frames; kNone.
uint32_t CellStreams::free_place(uint32_t b, uint32_t frame) const {
  const Block& block = blocks_[b];
  for (uint32_t i = 0; i < kBlockSlots; ++i) {
    if ((block.used >> i & 1) == 0 && block.member[i] <= frame) return b * kBlockSlots + i;
  }
  return kNone;
}

// First frame in which a place of the block is free.
uint32_t CellStreams::earliest_rest(uint32_t b) const {
  const Block& block = blocks_[b];
  uint32_t frame = UINT32_MAX;
  for (uint32_t i = 0; i < kBlockSlots; ++i) {
    if ((block.used >> i & 1) == 0) frame = std::min(frame, block.member[i]);
  }
  return frame;
}

uint32_t CellStreams::take_place(Cell& cell) {
  if (cell.frame >= cell.full_until) {
    // Low slots first: they cost the fewest bits, and high blocks run empty.
    uint32_t next = UINT32_MAX;
    for (uint32_t b = cell.first_block; b != kNone; b = blocks_[b].next) {
      const uint32_t place = free_place(b, cell.frame);
      if (place != kNone) return place;
      next = std::min(next, earliest_rest(b));
    }
    cell.full_until = next;
  } else if (cell.last_block != kNone) {
    const uint32_t place = free_place(cell.last_block, cell.frame);
    if (place != kNone) return place;
  }
  const uint32_t block = add_block(cell);
  if (block != kNone) return block * kBlockSlots;
  // All 65,536 slots of the cell have blocks: a place that has not rested long enough.
  for (uint32_t b = cell.first_block; b != kNone; b = blocks_[b].next) {
    const uint32_t place = free_place(b, UINT32_MAX);
    if (place == kNone) continue;
    ++early_reuses_;
    lose_anchor(cell);
    return place;
  }
  return kNone;
}

// Block out of the pool, taken back from any cell when there is no other.
uint32_t CellStreams::new_block() {
  if (free_block_ == kNone && blocks_used_ == blocks_.size()) {
    for (const Trim what : {Trim::kRested, Trim::kAllEmpty}) {
      for (uint32_t i = 0; i < cells_used_ && free_block_ == kNone; ++i) {
        if (cells_[i].live) trim(cells_[i], what);
      }
    }
    TG_ASSERT(free_block_ != kNone);
  }
  const uint32_t b = free_block_;
  if (b == kNone) return blocks_used_++;
  free_block_ = blocks_[b].next;
  return b;
}

// New block behind the last one, or in a gap when the slots end there. kNone: no gap.
uint32_t CellStreams::add_block(Cell& cell) {
  if (free_block_ == kNone && blocks_used_ == blocks_.size()) {
    // The search below must see the cell's blocks as they are when one has been taken back.
    const uint32_t spare = new_block();
    blocks_[spare].next = free_block_;
    free_block_ = spare;
  }
  uint32_t before = cell.last_block;
  uint32_t base = before == kNone ? 0 : blocks_[before].base + kBlockSlots;
  if (base >= kSlotsMax) {
    before = kNone;
    base = 0;
    for (uint32_t b = cell.first_block; b != kNone && blocks_[b].base == base;
         b = blocks_[b].next) {
      before = b;
      base += kBlockSlots;
    }
    if (base >= kSlotsMax) return kNone;
  }
  const uint32_t b = new_block();
  Block& block = blocks_[b];
  block = Block{};
  block.base = static_cast<uint16_t>(base);
  if (before == kNone) {
    block.next = cell.first_block;
    cell.first_block = b;
  } else {
    block.next = blocks_[before].next;
    blocks_[before].next = b;
  }
  if (before == cell.last_block) {
    if (before != kNone) cell.full_until = std::min(cell.full_until, earliest_rest(before));
    cell.last_block = b;
  } else {
    cell.full_until = 0;
  }
  return b;
}

// Gives back blocks without members: those whose places all rested, or every one (counted).
void CellStreams::trim(Cell& cell, Trim what) {
  uint32_t before = kNone;
  for (uint32_t b = cell.first_block; b != kNone;) {
    Block& block = blocks_[b];
    const uint32_t next = block.next;
    bool unused = block.used == 0;
    if (unused) {
      const bool rested = *std::max_element(block.member, block.member + kBlockSlots) <= cell.frame;
      if (!rested && what == Trim::kRested) unused = false;
      if (unused && !rested && cell.packed_readers != 0) {
        ++early_reuses_;
        lose_anchor(cell);
      }
    }
    if (!unused) {
      before = b;
    } else {
      (before == kNone ? cell.first_block : blocks_[before].next) = next;
      if (cell.last_block == b) cell.last_block = before;
      block.next = free_block_;
      free_block_ = b;
    }
    b = next;
  }
}

// --- membership ---

uint32_t CellStreams::add_event(Cell& cell) {
  uint32_t e = free_event_;
  if (e != kNone) {
    free_event_ = events_[e].next;
  } else {
    TG_ASSERT(events_used_ < events_.size());
    e = events_used_++;
  }
  events_[e] = CellEvent{};
  events_[e].next = kNone;
  (cell.last_event == kNone ? cell.first_event : events_[cell.last_event].next) = e;
  cell.last_event = e;
  return e;
}

void CellStreams::free_event(uint32_t e) {
  if (events_[e].kind == CellEvent::kLeave) {
    names_.remove(events_[e].name);
    --leaves_;
  }
  events_[e].next = free_event_;
  free_event_ = e;
}

void CellStreams::remember_gone(Cell& cell, const CellEvent& event) {
  uint32_t g = free_gone_;
  if (g != kNone) {
    free_gone_ = gone_[g].next;
  } else {
    TG_ASSERT(gone_used_ < gone_.size());
    g = gone_used_++;
  }
  gone_[g] = {cell.first_gone, event.since, cell.frame, event.other, event.slot, event.has_other};
  cell.first_gone = g;
  ++gone_count_;
}

void CellStreams::forget_gone(Cell& cell) {
  for (uint32_t g = cell.first_gone; g != kNone;) {
    const uint32_t next = gone_[g].next;
    gone_[g].next = free_gone_;
    free_gone_ = g;
    --gone_count_;
    g = next;
  }
  cell.first_gone = kNone;
}

void CellStreams::enter(uint32_t c, EntityTable& entities, EntitySlot s, const CellKey* from,
                        uint32_t tick) {
  Cell& cell = cells_[c];
  const uint32_t place = take_place(cell);
  TG_ASSERT(place != kNone);
  Block& block = blocks_[place / kBlockSlots];
  const uint32_t i = place % kBlockSlots;
  const auto bit = static_cast<uint8_t>(1U << i);
  block.used |= bit;
  block.changed &= static_cast<uint8_t>(~bit);
  block.since_anchor |= bit;
  block.since_half |= bit;
  block.member[i] = s;
  ++cell.members;
  cell.dirty = cell.half_dirty = true;

  const uint32_t e = add_event(cell);
  CellEvent& event = events_[e];
  event.kind = CellEvent::kEnter;
  event.tick = tick;
  event.entity = entities.id(s);
  event.member = s;
  event.slot = static_cast<uint16_t>(block.base + i);
  event.has_other = from != nullptr;
  if (from != nullptr) event.other = *from;

  Membership& membership = entities.membership(s);
  membership.cell = c;
  membership.member = place;
  membership.since = cell.frame + 1;
  membership.slot = event.slot;
  membership.entered = e + 1;
  queue(c);
}

bool CellStreams::may_leave(uint32_t c) const {
  return leaves_ < leaves_max_ && leaves_ + gone_count_ < gone_.size() && !cells_[c].skipped;
}

bool CellStreams::leave(EntityTable& entities, EntitySlot s, const CellKey* to, uint32_t tick) {
  Membership& membership = entities.membership(s);
  Cell& cell = cells_[membership.cell];
  Block& block = blocks_[membership.member / kBlockSlots];
  const uint32_t i = membership.member % kBlockSlots;
  TG_ASSERT((block.used >> i & 1) != 0 && block.member[i] == s);
  block.used &= static_cast<uint8_t>(~(1U << i));
  block.changed &= static_cast<uint8_t>(~(1U << i));
  block.member[i] = cell.frame + kSlotRestFrames;
  cell.full_until = std::min(cell.full_until, block.member[i]);
  --cell.members;
  cell.dirty = cell.half_dirty = true;

  const bool known = membership.entered == 0;
  if (known) {
    TG_ASSERT(leaves_ < leaves_max_);
    ++leaves_;
    CellEvent& event = events_[add_event(cell)];
    event.kind = CellEvent::kLeave;
    event.tick = tick;
    event.entity = entities.id(s);
    event.name = names_.add(entities.player_id(s));
    event.since = membership.since;
    event.slot = membership.slot;
    event.has_other = to != nullptr;
    if (to != nullptr) event.other = *to;
  } else {
    const uint32_t e = membership.entered - 1;
    uint32_t before = kNone;
    for (uint32_t at = cell.first_event; at != e; at = events_[at].next) before = at;
    (before == kNone ? cell.first_event : events_[before].next) = events_[e].next;
    if (cell.last_event == e) cell.last_event = before;
    free_event(e);
    membership.entered = 0;
  }
  queue(membership.cell);
  membership.cell = kNone;
  return known;
}

void CellStreams::finish_frame(uint32_t c, EntityTable& entities) {
  Cell& cell = cells_[c];
  const bool read = cell.packed_readers != 0;
  // Nobody holds slots of a cell without packed readers: they need no rest.
  if (!read) lose_anchor(cell);
  cell.frame += read ? 1 : kSlotRestFrames;
  for (uint32_t e = cell.first_event; e != kNone;) {
    const uint32_t next = events_[e].next;
    if (events_[e].kind == CellEvent::kEnter) {
      entities.membership(events_[e].member).entered = 0;
    } else if (cell.anchored) {
      remember_gone(cell, events_[e]);
    }
    free_event(e);
    e = next;
  }
  cell.first_event = cell.last_event = kNone;
  cell.changed = false;
  cell.skipped = false;
  for (uint32_t b = cell.first_block; b != kNone; b = blocks_[b].next) blocks_[b].changed = 0;
  trim(cell, Trim::kRested);
}

size_t CellStreams::bytes() const {
  return cells_.bytes() + checksums_.bytes() + index_.bytes() + blocks_.bytes() + events_.bytes() +
         gone_.bytes() + names_.bytes() + queue_.bytes();
}

}  // namespace tidegate::world
