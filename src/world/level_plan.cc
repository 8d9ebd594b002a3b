// SPDX-License-Identifier: Apache-2.0
// Which of a watcher's cells its budget holds at full rate, a few times a second, and how far it
// sees, once a second. What each stream of a cell takes is known from the cell's publications, so
// this is a sum: its own cell at full rate first, then those that it touches, then the lowest rate
// of all others from near to far, then full rate from near to far. What is left goes to the frames
// between (budget_choice.cc). docs/decisions/0007-budgets.md.
#include <algorithm>
#include <cmath>

#include "world/interest.h"

namespace tidegate::world {
namespace {

// Bytes a second of a stream that nobody gets: by those that somebody gets, in 1/16. Behind an
// image of eight ticks ago a change is larger than behind one of the last tick, but there are
// fewer.
constexpr uint32_t kChainOfAnchor = 22;
constexpr uint32_t kAnchorOfChain = 12;
constexpr uint32_t kKeyframeOfMember = 36;  // bytes, when none was made
constexpr uint32_t kTracksOfMember = 5;

// Seconds until cells that were cut come back, or a chain that did not fit: each time twice as
// long, because each return costs their keyframes.
constexpr uint8_t kPatienceMin = 2;
constexpr uint8_t kPatienceMax = 8;

}  // namespace

void InterestTable::count_traffic(WatchedCell& cell, const Publication& p) {
  turn_traffic(cell, p.tick);
  uint32_t(&packed)[kLevels] = cell.traffic.sum[static_cast<uint32_t>(Encoding::kPacked)];
  uint32_t(&protobuf)[kLevels] = cell.traffic.sum[static_cast<uint32_t>(Encoding::kProtobuf)];
  packed[kFullLevel] += p.packed_chain.bytes;
  protobuf[kFullLevel] += p.protobuf_events.bytes + p.protobuf_chain.bytes;
  if (p.layer < kFullLevel) {
    packed[p.layer] += p.packed_layer.bytes;
    protobuf[p.layer] += p.protobuf_layer.bytes;
  }
  if ((p.answered & kPackedKeyframe) != 0) cell.traffic.keyframe = p.packed_keyframe.bytes;
}

void InterestTable::turn_traffic(WatchedCell& cell, uint32_t tick) const {
  Traffic& t = cell.traffic;
  if (t.from == 0) t.from = tick;
  const uint32_t elapsed = tick - t.from;
  if (elapsed < second_ticks_) return;
  for (uint32_t e = 0; e < 2; ++e) {
    t.known[e] = cell.posted[e];
    for (uint32_t level = 0; level < kLevels; ++level) {
      t.rate[e][level] = static_cast<uint32_t>(uint64_t{t.sum[e][level]} * second_ticks_ / elapsed);
      t.sum[e][level] = 0;
    }
  }
  t.from = tick;
}

// Bytes a second for a watcher that gets the cell in the chain, or only its layers 0. What was
// never seen counts as nothing: a second later it is known.
uint32_t InterestTable::bytes_of(const WatchedCell& cell, Encoding encoding, bool chain) {
  const auto e = static_cast<uint32_t>(encoding);
  const uint32_t anchors = cell.traffic.rate[e][0];
  const uint32_t chained = cell.traffic.rate[e][kFullLevel];
  const bool has_chain = chained != 0 || (cell.traffic.known[e] >> kFullLevel & 1) != 0;
  const bool has_anchors = anchors != 0 || (cell.traffic.known[e] & ((1U << kFullLevel) - 1)) != 0;
  if (chain) return has_chain ? chained : anchors / 16 * kChainOfAnchor;
  return has_anchors ? anchors : chained / 16 * kAnchorOfChain;
}

uint32_t InterestTable::keyframe_of(const WatchedCell& cell) {
  return cell.traffic.keyframe != 0 ? cell.traffic.keyframe : cell.members * kKeyframeOfMember;
}

uint32_t InterestTable::tracks_of(const WatchedCell& cell) {
  return 16 + cell.members * kTracksOfMember;
}

// `reach`: also how far it sees; once a second.
void InterestTable::plan(Watcher& w, uint32_t tick, bool reach) {
  struct Near {
    int64_t distance;  // squared; -1: its own cell
    uint32_t floor, chain;
    uint8_t i;
  };
  Near near[kActiveCellsMax];
  uint32_t count = 0;
  const Encoding encoding = encoding_of(w);
  const CellKey own = scale_.cell_of({w.x, 0, w.z});
  for (uint32_t i = 0; i < w.count; ++i) {
    if ((w.dropping >> i & 1) != 0) continue;
    WatchedCell& cell = cells_[w.cells[i]];
    turn_traffic(cell, tick);
    near[count++] = {cell.key == own ? -1 : distance_of(w, i), bytes_of(cell, encoding, false),
                     bytes_of(cell, encoding, true), static_cast<uint8_t>(i)};
  }
  std::sort(near, near + count,
            [](const Near& a, const Near& b) { return a.distance < b.distance; });

  const uint64_t before = w.unchained;
  const uint32_t rate = w.budget.rate();
  // What it touches comes before keyframes of what is further away.
  const uint32_t near_all = rate - std::min(rate, w.budget.answer_rate() + rate / 32);
  const uint32_t near_most = near_all - std::min(near_all, rate / 32);
  const uint32_t far_all = near_all - std::min(near_all, w.budget.keyframe_rate());
  const uint32_t far_most = far_all - std::min(far_all, rate / 32);
  const int64_t touch = touch_squared();
  const auto keyframe = [&](const Near& n) -> uint32_t {
    return encoding == Encoding::kPacked ? keyframe_of(cells_[w.cells[n.i]]) : 0;
  };
  const auto tracks = [&](const Near& n) -> uint32_t {
    return encoding == Encoding::kPacked ? tracks_of(cells_[w.cells[n.i]]) : 0;
  };
  uint64_t chains = 0;   // of the cells, by place on the list
  uint64_t sum = 0;      // bytes a second: chains, and the lowest rate of other cells
  uint32_t awaited = 0;  // the largest keyframe that is to find room in a second with them
  // A chain that the client is in stays while it fits; one that begins has its tracks to pay.
  const auto take_chain = [&](const Near& n) {
    const uint64_t bit = uint64_t{1} << n.i;
    const bool has = (w.chained & bit) != 0 && (before & bit) == 0;
    const uint64_t with = sum - n.floor + n.chain;  // a chain may take less
    if (level_at(n.distance < 0 ? 0 : n.distance, level_of(w, n.i)) < kFullLevel) return;
    const bool near_by = n.distance <= touch;
    const uint32_t most = near_by ? near_most : far_most;
    const uint32_t begins = std::max(awaited, has ? 0 : tracks(n));
    if (n.distance < 0) {  // its own, whatever it takes
    } else if (has) {
      if (with + awaited > (near_by ? near_all : far_all)) return;
    } else if (with > (near_by ? most : most / 8 * 7) || with + begins > most) {
      return;
    }
    sum = with;
    awaited = begins;
    chains |= bit;
  };
  uint32_t touched = 0;
  for (; touched < count && near[touched].distance <= touch; ++touched) sum += near[touched].floor;
  for (uint32_t n = 0; n < touched; ++n) take_chain(near[n]);
  // How far it sees: as far as the lowest rates have room besides, and the keyframe of what comes
  // into view has, when other chains wait for it. One that takes half the budget would never: it
  // comes all the same.
  uint64_t least = 0;  // its own chain, and the lowest rates
  for (uint32_t n = 0; n < touched; ++n) {
    least += near[n].distance < 0 ? near[n].chain : near[n].floor;
  }
  int64_t cut = -1;  // squared distance of the nearest cell that has no room
  for (uint32_t n = touched; n < count; ++n) {
    const uint32_t joins = (w.joining >> near[n].i & 1) != 0 ? keyframe(near[n]) : 0;
    const bool no_room = joins <= rate / 2 && least + near[n].floor + joins > near_most;
    if (reach && (sum + near[n].floor > far_most || no_room)) {
      cut = near[n].distance;
      count = n;
      break;
    }
    sum += near[n].floor;
    least += near[n].floor;
  }
  const uint64_t steady = sum;
  // Now with the keyframe that is waited for.
  chains = sum = awaited = 0;
  uint32_t largest = 0;  // of those that are to find room
  for (uint32_t n = 0; n < count; ++n) {
    sum += near[n].floor;
    const uint32_t bytes = keyframe(near[n]);
    if (bytes > rate / 2) continue;
    largest = std::max(largest, bytes);
    if ((w.joining >> near[n].i & 1) != 0) awaited = std::max(awaited, bytes);
  }
  for (uint32_t n = 0; n < count; ++n) take_chain(near[n]);

  w.budget.expect(static_cast<uint32_t>(std::min<uint64_t>(sum, rate)) + w.budget.answer_rate());
  w.unchained = 0;
  for (uint32_t n = 0; n < count; ++n) {
    const uint64_t bit = uint64_t{1} << near[n].i;
    if ((chains & bit) == 0 && level_at(std::max<int64_t>(0, near[n].distance), 0) == kFullLevel) {
      w.unchained |= bit;
    }
  }
  if (!reach) {
    if (w.unchained != before) w.state |= kDecide;
    return;
  }
  if (cut >= 0) {
    w.cut_steps = static_cast<int32_t>(std::sqrt(static_cast<double>(cut))) - 1;
    ++counters_.cells_cut;
    be_patient(w);
  } else if (w.cut_steps != kNoCut) {
    const bool plenty = steady < far_most / 4;
    if (w.cut_wait != 0) --w.cut_wait;
    const uint64_t another = steady / std::max(1U, count);
    if (plenty || (w.cut_wait == 0 && steady + another < far_most / 16 * 15 &&
                   least + another + largest < near_most)) {
      w.cut_steps += plenty ? scale_.cell_steps : scale_.cell_steps / 4;
      if (w.cut_steps > w.view_steps + scale_.cell_steps) w.cut_steps = kNoCut;
      w.cut_wait = 1;
    }
  } else if (steady < far_most / 4 * 3) {
    w.cut_patience = 0;
  }
  if (w.unchained != before || cut >= 0) w.state |= kDecide;
  if (w.cut_steps != kNoCut) w.state |= kDecide;
}

void InterestTable::be_patient(Watcher& w) {
  w.cut_patience =
      static_cast<uint8_t>(std::clamp<uint32_t>(w.cut_patience * 2U, kPatienceMin, kPatienceMax));
  w.cut_wait = w.cut_patience;
}

}  // namespace tidegate::world
