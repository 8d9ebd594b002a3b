// SPDX-License-Identifier: Apache-2.0
// What a watcher's budget does to its cells: which frames of a tick are left out, what becomes of
// a cell that lost one, how far the watcher sees, and how all that is taken back.
#include <algorithm>
#include <cmath>

#include "world/interest.h"

namespace tidegate::world {
namespace {

// Priority of a cell: what the client must have, its own, what it touches, then its wait, then how
// near it is.
constexpr uint32_t kNeeded = 1 << 16;
constexpr uint32_t kOwnCell = 1 << 15;
constexpr uint32_t kTouched = 1 << 14;
constexpr uint32_t kWaitUnit = 1 << 4;
constexpr uint8_t kWaitMax = 255;
// Seconds that the first image of a cell waits for room at the most: when the cell is touched or
// the image too large to find any, and others.
constexpr uint32_t kTouchedWaits = 3;
constexpr uint32_t kJoinWaits = 10;

struct Wanted {
  uint32_t bytes;
  uint32_t first;  // of them of a keyframe or tracks
  uint32_t rank;
  uint8_t cell;
  bool whole;  // a keyframe
};

}  // namespace

// Highest level for cells[i].
uint8_t InterestTable::level_cap(const Watcher& w, uint32_t i) const {
  if (w.budget.rung() >= Rung::kNoLayer2) return std::min<uint8_t>(1, ceiling_);
  if (w.budget.rung() >= Rung::kNoLayer3) return std::min<uint8_t>(kFullLevel - 1, ceiling_);
  const bool capped = (w.unchained >> i & 1) != 0;
  return std::min<uint8_t>(capped ? kFullLevel - 1 : kFullLevel, ceiling_);
}

// The client's image of cells[i] cannot be carried on: it waits for a keyframe.
void InterestTable::lose(Watcher& w, uint32_t i) {
  const uint64_t bit = uint64_t{1} << i;
  if ((w.joining & bit) != 0) return;
  const uint8_t before = uses_of(w, i);
  w.joining |= bit;
  w.stale |= bit;
  w.chained &= ~bit;
  w.half_held &= ~bit;
  w.wait[i] = 0;
  use(w.cells[i], encoding_of(w), uses_of(w, i), 1);
  use(w.cells[i], encoding_of(w), before, -1);
}

void InterestTable::cut_farthest(Watcher& w) {
  int64_t farthest = 0;
  for (uint32_t i = 0; i < w.count; ++i) {
    if ((w.dropping >> i & 1) != 0) continue;
    farthest = std::max(farthest, distance_of(w, i));
  }
  // Its own cell is left, and what it touches: it may be there in a moment.
  if (farthest <= touch_squared()) return;
  w.cut_steps = static_cast<int32_t>(std::sqrt(static_cast<double>(farthest))) - 1;
  ++counters_.cells_cut;
}

void InterestTable::note_limited(Watcher& w) {
  const bool limited = w.budget.rung() != Rung::kAll || w.unchained != 0 || w.stale != 0 ||
                       w.cut_steps != kNoCut || w.crowd_steps != kNoCrowd;
  if (limited == ((w.state & kLimited) != 0)) return;
  w.state ^= kLimited;
  limited ? ++limited_ : --limited_;
}

void InterestTable::end_gather(Watcher& w) {
  if ((w.state & kDecide) != 0) {
    w.state &= static_cast<uint8_t>(~kDecide);
    decide(w, {w.x, 0, w.z});
  }
  note_limited(w);
}

void InterestTable::begin_flush(uint64_t keyframe_bytes, uint64_t queued_bytes, uint8_t ceiling) {
  keyframe_bytes_ = 0;
  keyframe_bytes_max_ = keyframe_bytes;
  keyframe_room_ = UINT64_MAX;
  queued_room_ = static_cast<int64_t>(queued_bytes);
  first_put_off_ = kNoWatcher;
  ceiling_changed_ = ceiling != ceiling_;
  ceiling_ = ceiling;
}

Rung InterestTable::update_budget(uint32_t watcher, const QueueSample& queue) {
  Watcher& w = watchers_[watcher];
  TG_ASSERT(w.state != 0);
  const Rung before = w.budget.rung();
  const Rung rung = w.budget.update(budget_, queue);
  for (auto r = static_cast<uint32_t>(before) + 1; r <= static_cast<uint32_t>(rung); ++r) {
    ++counters_.rungs[r];
  }
  bool decide_anew = rung != before || ceiling_changed_;
  if (rung >= Rung::kOwnOnly && (w.state & kIsPacked) != 0) {
    for (uint32_t i = 0; i < w.count; ++i) lose(w, i);
  }
  if (before >= Rung::kOwnOnly && rung < Rung::kOwnOnly && (w.state & kIsPacked) == 0) {
    resync(watcher);
  }
  if (rung < Rung::kOwnOnly && w.budget.overdrawn()) {
    cut_farthest(w);
    be_patient(w);
    decide_anew = true;
  }
  // Levels stay as they are until this tick's frames are gathered: owners encoded for those.
  if (decide_anew) w.state |= kDecide;
  note_limited(w);
  return rung;
}

// Bytes of this tick that the watcher's budget may refuse. `needed`: without them the cell is lost.
uint32_t InterestTable::due_bytes(const Watcher& w, uint32_t i, const Publication& p,
                                  bool* needed) const {
  const uint64_t bit = uint64_t{1} << i;
  const bool packed = (w.state & kIsPacked) != 0;
  const bool own = p.cell == scale_.cell_of({w.x, 0, w.z});
  if ((w.joining & bit) != 0) {
    if ((w.dropping & bit) != 0) return 0;
    // A cell that comes into view has time until the plan has made room.
    const bool soon = distance_of(w, i) <= touch_squared() ||
                      keyframe_of(cells_[w.cells[i]]) > w.budget.rate() / 2;
    const uint32_t seconds = (w.stale & bit) != 0 ? 1 : soon ? kTouchedWaits : kJoinWaits;
    *needed = own || w.wait[i] >= seconds * floor_anchors_;
    if (packed) return (p.answered & kPackedKeyframe) != 0 ? p.packed_keyframe.bytes : 0;
    return (p.answered & kProtobufSpawns) != 0 ? p.protobuf_spawns.bytes : 0;
  }
  if (takes_whole(w, i, p)) {
    *needed = own || (p.flags & kRebased) != 0 || (w.healing & bit) != 0;
    return p.packed_keyframe.bytes;
  }
  // The plan has room for what is in the chain.
  *needed = p.layer == 0 || (w.chained & bit) != 0;
  if ((w.chained & bit) != 0) return packed ? p.packed_chain.bytes : p.protobuf_chain.bytes;
  if (takes_tracks(w, i, p)) return p.packed_layer.bytes + p.packed_tracks.bytes;
  if (p.layer > std::min<uint8_t>(level_of(w, i), kFullLevel - 1)) return 0;
  return packed ? p.packed_layer.bytes : p.protobuf_layer.bytes;
}

// The largest keyframe (or tracks) that the watcher waits for: room is kept for it, or it would
// never come.
uint32_t InterestTable::awaited_bytes(const Watcher& w) const {
  uint64_t open = w.joining & ~w.dropping;
  if ((w.state & kIsPacked) != 0) open |= w.level_low & w.level_high & ~w.chained & ~w.dropping;
  uint32_t most = 0;
  for (; open != 0; open &= open - 1) {
    const auto i = static_cast<uint32_t>(__builtin_ctzll(open));
    const WatchedCell& cell = cells_[w.cells[i]];
    most = std::max(most, (w.joining >> i & 1) != 0 ? keyframe_of(cell) : tracks_of(cell));
  }
  return most;
}

// Of the tick's bytes of cells[i], those with which its stream or its chain begins.
uint32_t InterestTable::first_bytes(const Watcher& w, uint32_t i, const Publication& p,
                                    uint32_t bytes) const {
  if ((w.joining >> i & 1) != 0 || takes_whole(w, i, p)) return bytes;
  return takes_tracks(w, i, p) ? p.packed_tracks.bytes : 0;
}

bool InterestTable::begins_chain(const Watcher& w, uint32_t i, const Publication& p) const {
  return (p.flags & kRebased) == 0 && (w.healing >> i & 1) == 0 && takes_up_chain(w, i, p);
}

// Whether a chain that would begin in this tick waits for another anchor. What is more than half a
// second's budget may never find room: its own cell does not wait for it. `left`: of the budget.
bool InterestTable::puts_off_chain(const Watcher& w, uint32_t i, const Publication& p,
                                   int64_t left) const {
  if (!begins_chain(w, i, p)) return false;
  if (keyframes_spent()) return true;
  const bool touched = distance_of(w, i) <= touch_squared();
  // What is further away leaves room for another one, of a cell that is touched next.
  const uint32_t bytes =
      p.packed_tracks.count != 0 ? p.packed_tracks.bytes : p.packed_keyframe.bytes;
  if (int64_t{bytes} * (touched ? 1 : 2) <= left) return false;
  const bool own = p.cell == scale_.cell_of({w.x, 0, w.z});
  return !own || bytes <= w.budget.rate() / 2;
}

// Cells whose frames of this tick are left out, as bits.
uint64_t InterestTable::choose(Watcher& w, uint32_t tick) {
  int64_t tokens = w.budget.allowance();
  const int64_t awaited = awaited_bytes(w);
  const bool queued = !w.budget.idle();
  int64_t room = w.budget.room();
  if (queued) room = std::min(room, queued_room_);
  int64_t total = 0;
  uint64_t whole = 0;  // keyframes, of the total
  must_bytes_ = 0;
  put_off_ = 0;
  for (uint32_t i = 0; i < w.count; ++i) {
    const Publication* const p = published(w.cells[i], tick);
    if (p == nullptr) continue;
    bool needed = false;
    const uint32_t bytes = due_bytes(w, i, *p, &needed);
    total += bytes;
    const uint32_t first = first_bytes(w, i, *p, bytes);
    whole += first;
    if (needed && first != bytes) must_bytes_ += bytes - first;
  }
  if (total <= room && total <= tokens - (whole == 0 ? awaited : 0) &&
      (whole == 0 || !keyframes_spent())) {
    keyframe_bytes_ += whole;
    if (queued) queued_room_ -= total;
    return 0;
  }

  Wanted wanted[kActiveCellsMax];
  uint32_t count = 0;
  int64_t left = tokens - must_bytes_;  // for chains that begin
  must_bytes_ = 0;
  for (uint32_t i = 0; i < w.count; ++i) {
    const Publication* const p = published(w.cells[i], tick);
    if (p == nullptr) continue;
    const bool own = p->cell == scale_.cell_of({w.x, 0, w.z});
    const bool joins = (w.joining >> i & 1) != 0;
    if (puts_off_chain(w, i, *p, left)) put_off_ |= uint64_t{1} << i;
    bool needed = false;
    const uint32_t bytes = due_bytes(w, i, *p, &needed);
    if (bytes == 0) continue;
    const uint32_t first = first_bytes(w, i, *p, bytes);
    if (begins_chain(w, i, *p)) {  // left out, it would cost the cell its layer 0 as well
      needed = true;
      left -= first;
    }
    const bool keyframe = joins || takes_whole(w, i, *p);
    if (needed && !keyframe) must_bytes_ += bytes - first;
    const bool touched = distance_of(w, i) <= touch_squared();
    const uint32_t rank = (needed ? kNeeded : 0) + (own ? kOwnCell : 0) + (touched ? kTouched : 0) +
                          w.wait[i] * kWaitUnit + level_of(w, i);
    wanted[count++] = {bytes, first, rank, static_cast<uint8_t>(i), keyframe};
  }
  std::sort(wanted, wanted + count,
            [](const Wanted& a, const Wanted& b) { return a.rank > b.rank; });
  uint64_t left_out = 0;
  for (uint32_t n = 0; n < count; ++n) {
    const Wanted& f = wanted[n];
    const bool needed = f.rank >= kNeeded;
    // What is larger than all the room passes when nothing waits: it would never fit.
    const bool has_room = f.bytes <= room || (needed && n == 0 && w.budget.idle());
    const bool joins = (w.joining >> f.cell & 1) != 0;
    if (joins && keyframes_spent()) {
      ++counters_.keyframes_put_off;
      if (first_put_off_ == kNoWatcher) {
        first_put_off_ = static_cast<uint32_t>(&w - watchers_.data());
      }
      left_out |= uint64_t{1} << f.cell;
      continue;
    }
    // What the plan holds goes out in any case, and so does the first image of its own cell. The
    // image of another that waited a second may be more than is left, but one at a time.
    const bool affordable = f.bytes <= tokens - (f.whole ? 0 : awaited) ||
                            (needed && (!f.whole || (f.rank & kOwnCell) != 0 || tokens > 0));
    // A protobuf client cannot begin a single cell anew: it gets nothing until the queue is empty,
    // and then a WORLD_STATE.
    const bool must = needed && !joins && (w.state & kIsPacked) == 0;
    if (must && !has_room) {
      w.budget.hold();
      ++counters_.rungs[static_cast<uint32_t>(Rung::kOwnOnly)];
      return 0;
    }
    if (has_room && (affordable || must)) {
      tokens -= f.bytes;
      room = std::max<int64_t>(0, room - f.bytes);
      keyframe_bytes_ += f.first;
      if (queued) queued_room_ -= f.bytes;
    } else {
      left_out |= uint64_t{1} << f.cell;
    }
  }
  return left_out;
}

// The tick's frame of cells[i] was left out.
void InterestTable::leave_out(Watcher& w, uint32_t i, const Publication& p) {
  const uint64_t bit = uint64_t{1} << i;
  if ((w.joining & bit) != 0) {
    w.wait[i] = static_cast<uint8_t>(std::min<uint32_t>(w.wait[i] + 1u, kWaitMax));
    return;
  }
  ++counters_.frames_left_out;
  const bool rebased = (p.flags & kRebased) != 0 && (w.state & kIsPacked) != 0;
  if ((p.layer == 0 && (w.state & kIsPacked) != 0) || rebased) {
    ++counters_.cells_stale;
    lose(w, i);
    return;
  }
  w.wait[i] = static_cast<uint8_t>(std::min<uint32_t>(w.wait[i] + 1u + level_of(w, i), kWaitMax));
  if (p.layer == 1) w.half_held &= ~bit;
  if ((w.chained & bit) == 0) return;
  // The chain is broken; the layers go on from its last anchor.
  w.unchained |= bit;
  ++counters_.levels_lowered;
  set_level(w, i, kFullLevel - 1);
}

}  // namespace tidegate::world
