// SPDX-License-Identifier: Apache-2.0
// The flush side of InterestTable: a watcher's chunks of one tick.
#include <algorithm>

#include "world/interest.h"

namespace tidegate::world {

void InterestTable::store(const Publication& publication) {
  const uint32_t i = cell_of_.find(publication.cell.packed());
  if (i == FlatMap::kAbsent) {
    ++counters_.publications_unwanted;
    return;
  }
  ++counters_.publications;
  publications_[i] = publication;
  published_at_[i] = publication.tick;
  cells_[i].members = publication.members;
  count_traffic(cells_[i], publication);
}

const Publication* InterestTable::published(uint32_t cell, uint32_t tick) const {
  const Publication& p = publications_[cell];
  return p.tick == tick && p.cell == cells_[cell].key ? &p : nullptr;
}

// Few lines of memory: most players of a large world rest in most ticks.
bool InterestTable::rests(uint32_t watcher, uint32_t tick) const {
  const Watcher& w = watchers_[watcher];
  const uint32_t phase = (tick + watcher) % second_ticks_;
  const bool plans = phase % std::max(1U, second_ticks_ / kPlansPerSecond) == 0;
  if (ceiling_changed_ || (plans && w.unchained != 0)) return false;
  if ((w.state & (kWorldDue | kLimited | kDecide)) != 0) return false;
  uint64_t open = w.joining | w.dropping | w.healing;
  if ((w.state & kIsPacked) != 0) open |= w.level_low & w.level_high & ~w.chained;
  if (open != 0 || w.budget.rung() != Rung::kAll || !w.budget.idle()) return false;
  // Where nothing was for two seconds a plan would find what the one before has found.
  const uint32_t silent = plans ? 2 * second_ticks_ : 0;
  for (uint32_t i = 0; i < w.count; ++i) {
    if (tick - published_at_[w.cells[i]] <= silent) return false;
  }
  return true;
}

// Whether the watcher has been told the cell's state before this tick: also when it is about to
// let it go, not when it is about to join.
bool InterestTable::watches_fully(const Watcher& w, CellKey key) const {
  for (uint32_t i = 0; i < w.count; ++i) {
    if (cells_[w.cells[i]].key == key) return (w.joining >> i & 1) == 0;
  }
  return false;
}

void InterestTable::add_crossings(const Watcher& w, const Publication& p, ChunkList& chunks) const {
  for (uint32_t i = 0; i < p.crossing_count; ++i) {
    const CrossingChunks& crossing = p.crossings[i];
    const bool both = watches_fully(w, crossing.other);
    if (both == (crossing.kind == CrossingKind::kMove)) chunks.add(crossing.chunks);
  }
}

// A protobuf watcher's WORLD_STATE: its own cell first, then others while there is room. Pieces of
// its own cell that have none come as spawns: piece i is the same entities in both. New members
// tend to stand at the end, so those pieces go first and the watcher's own entity is among them.
void InterestTable::gather_world(Watcher& w, uint32_t tick, uint64_t left_out, ChunkList& chunks,
                                 ChunkList& world) {
  const uint64_t joining = w.joining & ~left_out;
  const CellKey own = scale_.cell_of({w.x, 0, w.z});
  for (const bool first : {true, false}) {
    for (uint32_t i = 0; i < w.count; ++i) {
      if ((joining >> i & 1) == 0 || (cells_[w.cells[i]].key == own) != first) continue;
      const Publication* const p = published(w.cells[i], tick);
      if (p == nullptr || (p->answered & kProtobufSpawns) == 0) continue;
      const bool has_world = (p->answered & kProtobufWorld) != 0 &&
                             p->protobuf_world.count == p->protobuf_spawns.count;
      for (uint32_t piece = p->protobuf_spawns.count; piece-- > 0;) {
        if (has_world && world.count < world.capacity &&
            world.bytes + p->protobuf_world.first[piece].bytes <= kChunkBytesMax) {
          world.add(p->protobuf_world.first[piece]);
        } else {
          chunks.add(p->protobuf_spawns.first[piece]);
        }
      }
      complete(w, i);
    }
  }
  w.state &= static_cast<uint8_t>(~kWorldDue);
}

// A keyframe for a watcher that has the cell: a stream that begins anew or is healed begins with
// one, and a chain of too many members.
bool InterestTable::takes_whole(const Watcher& w, uint32_t i, const Publication& p) const {
  return (w.state & kIsPacked) != 0 && (p.answered & kPackedKeyframe) != 0 &&
         (w.dropping >> i & 1) == 0 &&
         ((p.flags & kRebased) != 0 || (w.healing >> i & 1) != 0 ||
          (takes_up_chain(w, i, p) && p.packed_tracks.count == 0));
}

// Tracks, behind the layer 0 of the tick.
bool InterestTable::takes_tracks(const Watcher& w, uint32_t i, const Publication& p) const {
  return takes_up_chain(w, i, p) && p.packed_tracks.count != 0 && !takes_whole(w, i, p);
}

bool InterestTable::takes_up_chain(const Watcher& w, uint32_t i, const Publication& p) const {
  return (w.state & kIsPacked) != 0 && (p.answered & kPackedTracks) != 0 &&
         level_of(w, i) == kFullLevel &&
         ((w.chained | w.joining | w.dropping | w.healing | put_off_) >> i & 1) == 0;
}

// What a watcher that has the cell gets of it in this tick. `left_out`: only what it must have.
void InterestTable::add_updates(Watcher& w, uint32_t i, const Publication& p, bool left_out,
                                ChunkList& chunks) {
  const uint64_t bit = uint64_t{1} << i;
  const bool chained = (w.chained & bit) != 0;
  const uint8_t level = std::min<uint8_t>(level_of(w, i), kFullLevel - 1);
  const bool due = !chained && p.layer <= level;
  if ((w.state & kIsPacked) == 0) {
    chunks.add(p.protobuf_events);
    if (p.crossing_count != 0) add_crossings(w, p, chunks);
    if (left_out) {
      leave_out(w, i, p);
      return;
    }
    if (chained || due) w.wait[i] = 0;
    if (chained) chunks.add(p.protobuf_chain);
    if (due) chunks.add(p.protobuf_layer);
    // Behind a layer 0 the client has every change until now.
    if (due && p.layer == 0 && level_of(w, i) == kFullLevel) complete(w, i);
    return;
  }
  if (left_out) {
    leave_out(w, i, p);
    return;
  }
  if (chained) {
    chunks.add(p.packed_chain);
    w.wait[i] = 0;
  }
  if (!due || p.packed_layer.count == 0) return;
  if ((p.flags & kRefersToHalf) != 0 && (w.half_held & bit) == 0) return;
  chunks.add(p.packed_layer);
  w.wait[i] = 0;
  if (p.layer == 0) w.half_held &= ~bit;
  if (p.layer == 1) w.half_held |= bit;
}

Gathered InterestTable::gather(uint32_t watcher, uint32_t tick, ChunkList& chunks,
                               ChunkList& world) {
  Watcher& w = watchers_[watcher];
  TG_ASSERT(w.state != 0);
  const uint32_t phase = (tick + watcher) % second_ticks_;
  if (phase == 0) watch_crowd(w);
  if (phase % std::max(1U, second_ticks_ / kPlansPerSecond) == 0) plan(w, tick, phase == 0);
  const bool packed = (w.state & kIsPacked) != 0;
  const uint8_t joined_by = packed ? kPackedKeyframe : kProtobufSpawns;
  const uint8_t dropped_by = packed ? kPackedDrop : kProtobufDespawns;
  uint64_t joined = 0;
  uint64_t dropped = 0;
  bool own_answered = false;
  const uint64_t left_out = w.budget.rung() < Rung::kOwnOnly ? choose(w, tick) : 0;
  if (w.budget.rung() >= Rung::kOwnOnly) {
    end_gather(w);
    return Gathered::kFrames;
  }
  for (uint32_t i = 0; i < w.count; ++i) {
    const uint64_t bit = uint64_t{1} << i;
    const Publication* const p = published(w.cells[i], tick);
    if (p == nullptr) continue;
    const bool out = (left_out & bit) != 0;
    const bool joins = (w.joining & bit) != 0;
    if (!joins && !out && takes_whole(w, i, *p)) {
      joined |= bit;
    } else if (!joins) {
      const bool begins = !out && takes_tracks(w, i, *p);
      add_updates(w, i, *p, out, chunks);
      if (begins) {
        chunks.add(p->packed_tracks);
        w.budget.note_keyframe(p->packed_tracks.bytes);
        complete(w, i);
      }
    }
    if (w.dropping & bit) {
      if (p->answered & dropped_by) dropped |= bit;
    } else if (joins && (p->answered & joined_by) != 0) {
      if (out) {
        leave_out(w, i, *p);
        continue;
      }
      joined |= bit;
      own_answered |= p->cell == scale_.cell_of({w.x, 0, w.z});
    }
  }
  Gathered result = Gathered::kFrames;
  if ((w.state & kWorldDue) != 0 && own_answered) {
    gather_world(w, tick, left_out, chunks, world);
    result = Gathered::kWorld;
  } else if ((w.state & kWorldDue) != 0) {
    joined = 0;  // nothing may stand before the WORLD_STATE
  }
  // Drops before keyframes: an entity that went from a cell let go into one that joins is seen to
  // leave and then to come. From the end, because forget() fills the gap with the last cell.
  for (uint32_t i = 0; i < w.count; ++i) {
    if ((dropped >> i & 1) == 0) continue;
    const Publication& p = publications_[w.cells[i]];
    chunks.add(packed ? p.packed_drop : p.protobuf_despawns);
    ++counters_.drops;
  }
  if (result == Gathered::kFrames) {
    for (uint32_t i = 0; i < w.count; ++i) {
      if ((joined >> i & 1) == 0) continue;
      const Publication& p = publications_[w.cells[i]];
      chunks.add(packed ? p.packed_keyframe : p.protobuf_spawns);
      w.budget.note_keyframe(packed ? p.packed_keyframe.bytes : p.protobuf_spawns.bytes);
      complete(w, i);
    }
  }
  // A drop that was left out must come again: the cell stays on the list.
  if (chunks.overflowed) dropped = 0;
  for (uint32_t i = w.count; dropped != 0 && i-- > 0;) {
    if (dropped >> i & 1) forget(w, i);
  }
  // What was not answered is asked for again; it costs nothing while the question is on its way.
  uint64_t open = w.joining | w.dropping | w.healing;
  const uint64_t begins = packed ? w.level_low & w.level_high & ~w.chained & ~open : 0;
  open |= begins;
  for (; open != 0; open &= open - 1) {
    const auto i = static_cast<uint32_t>(__builtin_ctzll(open));
    if ((w.dropping >> i & 1) != 0) {
      request(w.cells[i], dropped_by);
    } else if (!packed || is_anchor(cells_[w.cells[i]].key, tick)) {
      request(w.cells[i], (begins >> i & 1) != 0 ? uint8_t{kPackedTracks} : join_requests(w));
    }
  }
  w.budget.spend(chunks.bytes + world.bytes, must_bytes_);
  end_gather(w);
  return result;
}

uint32_t InterestTable::active_cells(uint32_t watcher, CellKey (&out)[kActiveCellsMax]) const {
  const Watcher& w = watchers_[watcher];
  uint32_t n = 0;
  for (uint32_t i = 0; i < w.count; ++i) {
    if ((w.joining >> i & 1) == 0) out[n++] = cells_[w.cells[i]].key;
  }
  return n;
}

uint32_t InterestTable::held_cells(uint32_t watcher, CellKey (&out)[kActiveCellsMax]) const {
  const Watcher& w = watchers_[watcher];
  uint32_t n = 0;
  for (uint32_t i = 0; i < w.count; ++i) {
    if (((w.joining & ~w.stale) >> i & 1) == 0) out[n++] = cells_[w.cells[i]].key;
  }
  return n;
}

}  // namespace tidegate::world
