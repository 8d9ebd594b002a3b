// SPDX-License-Identifier: Apache-2.0
// What a watcher's budget does to its cells: which frames of a tick are left out, what becomes of
// a cell that lost one, how far the watcher sees, and how all that is taken back.
#include <algorithm>
#include <cmath>

#include "world/interest.h"

namespace tidegate::world {
namespace {

// Priority of a cell: its wait first, then how near it is; what the client must have stands above.
constexpr uint32_t kNeeded = 1 << 16;
constexpr uint32_t kOwnCell = 1 << 15;
constexpr uint32_t kWaitUnit = 1 << 4;
constexpr uint8_t kWaitMax = 255;

// Seconds with plenty of budget until cells that were cut come back: each time twice as long,
// because each return costs their keyframes.
constexpr uint8_t kPatienceMin = 2;
constexpr uint8_t kPatienceMax = 4;

struct Wanted {
  uint32_t bytes, rank;
  uint8_t cell;
  bool anchor;
  bool whole;  // a keyframe
};

}  // namespace

// Highest level for a cell that has the level `now`.
uint8_t InterestTable::level_cap(const Watcher& w, uint8_t now, bool own) const {
  if (w.budget.rung() >= Rung::kNoLayer2) return std::min<uint8_t>(1, ceiling_);
  if (w.budget.rung() >= Rung::kNoLayer3) return std::min<uint8_t>(kFullLevel - 1, ceiling_);
  const bool capped = (w.state & kCapped) != 0 && now < kFullLevel && !own;
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
  if (farthest == 0) return;  // its own cell is left
  w.cut_steps = static_cast<int32_t>(std::sqrt(static_cast<double>(farthest))) - 1;
  ++counters_.cells_cut;
}

void InterestTable::note_limited(Watcher& w) {
  const bool limited = w.budget.rung() != Rung::kAll || (w.state & kCapped) != 0 || w.stale != 0 ||
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
  const bool less = w.cut_steps != kNoCut || (w.state & kCapped) != 0;
  if (rung >= Rung::kOwnOnly && (w.state & kIsPacked) != 0) {
    for (uint32_t i = 0; i < w.count; ++i) lose(w, i);
  }
  if (before >= Rung::kOwnOnly && rung < Rung::kOwnOnly && (w.state & kIsPacked) == 0) {
    resync(watcher);
  }
  if (rung < Rung::kOwnOnly && w.budget.overdrawn()) {
    cut_farthest(w);
    w.cut_patience =
        static_cast<uint8_t>(std::clamp<uint32_t>(w.cut_patience * 2U, kPatienceMin, kPatienceMax));
    w.cut_wait = w.cut_patience;
    decide_anew = true;
  } else if (less && w.budget.may_raise()) {
    // Far cells first: they are no more than a quarter of the rate.
    if (w.cut_wait != 0) {
      --w.cut_wait;
    } else if (w.cut_steps != kNoCut) {
      w.cut_steps += scale_.cell_steps;
      if (w.cut_steps > w.view_steps + scale_.cell_steps) w.cut_steps = kNoCut;
    } else {
      w.cut_patience = 0;
      w.state &= static_cast<uint8_t>(~kCapped);
    }
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
    *needed = own || w.wait[i] >= floor_anchors_;
    if (packed) return (p.answered & kPackedKeyframe) != 0 ? p.packed_keyframe.bytes : 0;
    return (p.answered & kProtobufSpawns) != 0 ? p.protobuf_spawns.bytes : 0;
  }
  if (takes_whole(w, i, p)) {
    *needed = own || (p.flags & kRebased) != 0 || (w.healing & bit) != 0;
    return p.packed_keyframe.bytes;
  }
  // What is nearest goes on at full rate, whatever becomes of the others.
  *needed = p.layer == 0 || (own && (w.chained & bit) != 0);
  if ((w.chained & bit) != 0) return packed ? p.packed_chain.bytes : p.protobuf_chain.bytes;
  if (p.layer > std::min<uint8_t>(level_of(w, i), kFullLevel - 1)) return 0;
  return packed ? p.packed_layer.bytes : p.protobuf_layer.bytes;
}

// Cells whose frames of this tick are left out, as bits.
uint64_t InterestTable::choose(Watcher& w, uint32_t tick) {
  int64_t tokens = w.budget.allowance();
  const bool queued = !w.budget.idle();
  int64_t room = w.budget.room();
  if (queued) room = std::min(room, queued_room_);
  int64_t total = 0;
  uint64_t whole = 0;  // keyframes, of the total
  bool needed = false;
  for (uint32_t i = 0; i < w.count; ++i) {
    const Publication* const p = published(w.cells[i], tick);
    if (p == nullptr) continue;
    const uint32_t bytes = due_bytes(w, i, *p, &needed);
    total += bytes;
    if ((w.joining >> i & 1) != 0 || takes_whole(w, i, *p)) whole += bytes;
  }
  if (total <= room && total <= tokens && (whole == 0 || !keyframes_spent())) {
    keyframe_bytes_ += whole;
    if (queued) queued_room_ -= total;
    return 0;
  }

  Wanted wanted[kActiveCellsMax];
  uint32_t count = 0;
  for (uint32_t i = 0; i < w.count; ++i) {
    const Publication* const p = published(w.cells[i], tick);
    if (p == nullptr) continue;
    const bool own = p->cell == scale_.cell_of({w.x, 0, w.z});
    const bool joins = (w.joining >> i & 1) != 0;
    if ((!own || keyframes_spent()) && !joins && (p->flags & kRebased) == 0 &&
        (w.healing >> i & 1) == 0 && takes_whole(w, i, *p)) {
      // This is not the time to take up a chain; its own cell tries again at the next anchor.
      w.state |= own ? kDecide : kCapped;
      set_level(w, i, kFullLevel - 1);
    }
    needed = false;
    const uint32_t bytes = due_bytes(w, i, *p, &needed);
    if (bytes == 0) continue;
    const uint32_t rank =
        (needed ? kNeeded : 0) + (own ? kOwnCell : 0) + w.wait[i] * kWaitUnit + level_of(w, i);
    wanted[count++] = {bytes, rank, static_cast<uint8_t>(i), p->layer == 0,
                       joins || takes_whole(w, i, *p)};
  }
  std::sort(wanted, wanted + count,
            [](const Wanted& a, const Wanted& b) { return a.rank > b.rank; });
  uint64_t left_out = 0;
  const int64_t debt_max = w.budget.rate();
  const uint32_t anchor_share = w.budget.rate() / floor_anchors_;
  const uint32_t tick_share = w.budget.rate() / second_ticks_;
  for (uint32_t n = 0; n < count; ++n) {
    const Wanted& f = wanted[n];
    needed = f.rank >= kNeeded;
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
    // A client's first image of a cell may put it into debt, and so may a stale cell, but with one
    // of more than a second's bytes it waits for the end of the debt. In debt its own cell goes on
    // while that alone is within the rate: a keyframe would cost more.
    const bool begins = joins && ((w.stale >> f.cell & 1) == 0 || f.bytes <= w.budget.rate());
    const bool goes_on = !joins && f.rank >= (kNeeded | kOwnCell) &&
                         f.bytes <= (f.anchor ? anchor_share : tick_share);
    const bool affordable =
        f.bytes <= tokens ||
        (needed && (begins || goes_on || tokens > 0 || tokens - f.bytes >= -debt_max));
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
      if (f.whole) keyframe_bytes_ += f.bytes;
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
  w.state |= kCapped;
  ++counters_.levels_lowered;
  set_level(w, i, kFullLevel - 1);
}

}  // namespace tidegate::world
