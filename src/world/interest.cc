// SPDX-License-Identifier: Apache-2.0
// Which cells a watcher wants, and what owners are told. gather.cc has the flush.
#include "world/interest.h"

#include <algorithm>

namespace tidegate::world {

namespace {

// Distance kept between the circle that joins cells and the one that keeps them, and how far a
// watcher may go before its cells are decided anew (its circle is larger by that much).
constexpr int32_t kMarginDivisor = 4;       // of the cell's edge: 16 m
constexpr int32_t kSlackDivisor = 64;       // 1 m
constexpr int32_t kLevelMarginDivisor = 8;  // 8 m: before a level is lowered

}  // namespace

InterestTable::InterestTable(const WorldConfig& config, uint32_t watchers, uint32_t cells)
    : scale_(config),
      budget_(config.budget),
      floor_anchors_(std::max(1u, config.tick_rate / kLayerPeriod)),
      second_ticks_(config.tick_rate),
      crowd_entities_(config.crowd_entities),
      crowd_steps_min_(to_steps(config.crowd_view_distance, config.position_step)),
      view_metres_(config.view_distance),
      rate_steps_{INT32_MAX, to_steps(config.quarter_rate_distance, config.position_step),
                  to_steps(config.half_rate_distance, config.position_step),
                  to_steps(config.full_rate_distance, config.position_step)},
      cell_min_(scale_.cell_of(scale_.bounds_min)),
      cell_max_(scale_.cell_of(scale_.bounds_max)),
      watchers_(watchers),
      cells_(cells),
      publications_(cells),
      published_at_(cells),
      changed_(cells),
      cell_of_(cells) {
  TG_ASSERT(cells <= 65'535);
}

void InterestTable::add(uint32_t watcher, Encoding encoding, float view_distance,
                        const Steps3& position, uint32_t budget) {
  Watcher& w = watchers_[watcher];
  TG_ASSERT(w.state == 0);
  w = Watcher{};
  w.budget.start(budget_, budget);
  w.cut_steps = kNoCut;
  w.crowd_steps = kNoCrowd;
  w.state = encoding == Encoding::kPacked ? kInUse | kIsPacked : kInUse | kWorldDue;
  set_view(watcher, view_distance, position);
}

void InterestTable::set_view(uint32_t watcher, float view_distance, const Steps3& position) {
  Watcher& w = watchers_[watcher];
  TG_ASSERT(w.state != 0);
  const bool asked = view_distance > 0.0F && view_distance < view_metres_;
  w.view_steps =
      static_cast<uint16_t>(to_steps(asked ? view_distance : view_metres_, scale_.metres_per_step));
  w.told_steps = w.view_steps;
  decide(w, position);
}

void InterestTable::remove(uint32_t watcher) {
  Watcher& w = watchers_[watcher];
  TG_ASSERT(w.state != 0);
  while (w.count != 0) forget(w, w.count - 1u);
  if ((w.state & kLimited) != 0) --limited_;
  w.state = 0;
}

void InterestTable::move(uint32_t watcher, const Steps3& position) {
  Watcher& w = watchers_[watcher];
  TG_ASSERT(w.state != 0);
  const int32_t slack = scale_.cell_steps / kSlackDivisor;
  if (square(int64_t{position[0]} - w.x) + square(int64_t{position[2]} - w.z) < square(slack)) {
    return;
  }
  decide(w, position);
}

// Squared distance of the watcher from cells[i].
int64_t InterestTable::distance_of(const Watcher& w, uint32_t i) const {
  return distance_squared(cells_[w.cells[i]].key, scale_.cell_steps, w.x, w.z);
}

void InterestTable::decide(Watcher& w, const Steps3& position) {
  w.x = position[0];
  w.z = position[2];
  const int32_t step = scale_.cell_steps;
  const int32_t join_radius = w.view_steps + step / kSlackDivisor;
  const int32_t reach = reach_steps(w);
  const int64_t keep =
      std::min(square(int64_t{w.view_steps} + step / kMarginDivisor), square(reach));
  const int64_t join =
      std::min(square(join_radius), square(std::max(0, reach - step / kReachMarginDivisor)));
  const bool packed = (w.state & kIsPacked) != 0;

  for (uint32_t i = w.count; i-- > 0;) {
    const uint64_t bit = uint64_t{1} << i;
    const int64_t distance = distance_of(w, i);
    if (distance <= keep) {
      w.dropping &= ~bit;
      const uint8_t now = level_of(w, i);
      if (distance == 0) w.unchained &= ~bit;
      const uint8_t level = std::min(level_at(distance, now), level_cap(w, i));
      if (level == now) continue;
      ++(level > now ? counters_.levels_raised : counters_.levels_lowered);
      set_level(w, i, level);
    } else if ((w.joining & ~w.stale & bit) != 0) {
      forget(w, i);  // it was told nothing of the cell
    } else {
      w.dropping |= bit;
      request(w.cells[i], packed ? kPackedDrop : kProtobufDespawns);
    }
  }

  // Cells it has, as bits over the square around it, so that each candidate costs one test.
  const CellKey from = scale_.cell_of({w.x - join_radius, 0, w.z - join_radius});
  const CellKey to = scale_.cell_of({w.x + join_radius, 0, w.z + join_radius});
  constexpr int kSpan = 9;
  uint32_t present[kSpan] = {};
  for (uint32_t i = 0; i < w.count; ++i) {
    const CellKey key = cells_[w.cells[i]].key;
    const int row = key.z - from.z;
    const int column = key.x - from.x;
    if (row >= 0 && row < kSpan && column >= 0 && column < kSpan) present[row] |= 1U << column;
  }
  for (int z = std::max(from.z, cell_min_.z); z <= std::min(to.z, cell_max_.z); ++z) {
    for (int x = std::max(from.x, cell_min_.x); x <= std::min(to.x, cell_max_.x); ++x) {
      if (present[z - from.z] >> (x - from.x) & 1) continue;
      const CellKey key{static_cast<int16_t>(x), static_cast<int16_t>(z)};
      const int64_t distance = distance_squared(key, step, w.x, w.z);
      if (distance > join) continue;
      const uint32_t cell = w.count < kActiveCellsMax ? watch(key) : kNoCell;
      if (cell == kNoCell) {
        ++counters_.cells_refused;
        continue;
      }
      w.cells[w.count] = static_cast<uint16_t>(cell);
      w.joining |= uint64_t{1} << w.count;
      use(cell, encoding_of(w), uses_of(w, w.count), 1);
      // Its keyframe begins a chain too: whether the budget holds that, the next plan says.
      set_level(w, w.count, std::min(level_at(distance, 0), level_cap(w, w.count)));
      ++w.count;
      request(cell, join_requests(w));
      ++counters_.joins;
    }
  }
}

uint8_t InterestTable::join_requests(const Watcher& w) {
  if (w.state & kIsPacked) return kPackedKeyframe;
  // The first set goes into a WORLD_STATE; what has no room there comes as spawns.
  return (w.state & kWorldDue) != 0 ? kProtobufWorld | kProtobufSpawns : kProtobufSpawns;
}

// Levels whose frames the watcher is sent in cells[i]. On the way into the chain it goes on with
// the layers.
uint8_t InterestTable::uses_of(const Watcher& w, uint32_t i) {
  const uint8_t level = level_of(w, i);
  if (level < kFullLevel) return static_cast<uint8_t>(1U << level);
  return (w.chained >> i & 1) != 0 ? 1U << kFullLevel : 3U << (kFullLevel - 1);
}

// Level for a cell at that distance, when it is `now`.
uint8_t InterestTable::level_at(int64_t distance_squared, uint8_t now) const {
  const auto reach = [&](uint8_t level, int32_t margin) {
    return level == 0 || distance_squared <= square(int64_t{rate_steps_[level]} + margin);
  };
  uint8_t level = kFullLevel;
  while (!reach(level, scale_.cell_steps / kSlackDivisor)) --level;
  while (level < now &&
         reach(static_cast<uint8_t>(level + 1), scale_.cell_steps / kLevelMarginDivisor)) {
    ++level;
  }
  return level;
}

void InterestTable::set_level(Watcher& w, uint32_t i, uint8_t level) {
  const uint64_t bit = uint64_t{1} << i;
  const uint8_t before = uses_of(w, i);
  w.level_low = (level & 1) != 0 ? w.level_low | bit : w.level_low & ~bit;
  w.level_high = (level & 2) != 0 ? w.level_high | bit : w.level_high & ~bit;
  if (level < kFullLevel) w.chained &= ~bit;
  // The new use before the end of the old one: the cell stays watched.
  use(w.cells[i], encoding_of(w), uses_of(w, i), 1);
  use(w.cells[i], encoding_of(w), before, -1);
  if (level == kFullLevel && (w.state & kIsPacked) != 0 && (w.joining & bit) == 0) {
    request(w.cells[i], kPackedTracks);
  }
}

// The client has the whole of cells[i] as of this tick.
void InterestTable::complete(Watcher& w, uint32_t i) {
  const uint64_t bit = uint64_t{1} << i;
  w.joining &= ~bit;
  w.stale &= ~bit;
  w.healing &= ~bit;
  w.half_held &= ~bit;
  w.wait[i] = 0;
  if (level_of(w, i) != kFullLevel || (w.chained & bit) != 0) return;
  const uint8_t before = uses_of(w, i);
  w.chained |= bit;
  use(w.cells[i], encoding_of(w), uses_of(w, i), 1);
  use(w.cells[i], encoding_of(w), before, -1);
}

// Takes cells[i] off the watcher's list; the last one moves into its place.
void InterestTable::forget(Watcher& w, uint32_t i) {
  use(w.cells[i], encoding_of(w), uses_of(w, i), -1);
  const uint32_t last = w.count - 1u;
  w.cells[i] = w.cells[last];
  w.wait[i] = w.wait[last];
  w.wait[last] = 0;
  for (uint64_t* bits : {&w.joining, &w.dropping, &w.level_low, &w.level_high, &w.chained,
                         &w.half_held, &w.stale, &w.healing, &w.unchained}) {
    const uint64_t moved = *bits >> last & 1;
    *bits = (*bits & ~(uint64_t{1} << last) & ~(uint64_t{1} << i)) | (i == last ? 0 : moved << i);
  }
  w.count = static_cast<uint8_t>(last);
}

void InterestTable::resync(uint32_t watcher) {
  Watcher& w = watchers_[watcher];
  TG_ASSERT(w.state != 0);
  ++counters_.resyncs;
  w.healing = 0;
  if ((w.state & kIsPacked) == 0) {
    // The WORLD_STATE replaces all that its client has.
    w.state |= kWorldDue;
    for (uint32_t i = w.count; i-- > 0;) {
      if (w.dropping >> i & 1) forget(w, i);
    }
  }
  for (uint32_t i = 0; i < w.count; ++i) {
    if ((w.state & kIsPacked) != 0) {
      lose(w, i);
    } else {
      w.joining |= uint64_t{1} << i;
    }
    request(w.cells[i], join_requests(w));
  }
}

void InterestTable::restore_cells(uint32_t watcher, std::span<const int16_t> cells,
                                  const Steps3& position) {
  Watcher& w = watchers_[watcher];
  TG_ASSERT(w.state != 0);
  // A WORLD_STATE takes the place of all that its client has.
  if ((w.state & kIsPacked) == 0) return;
  for (size_t at = 0; at + 1 < cells.size(); at += 2) {
    const CellKey key{cells[at], cells[at + 1]};
    if (key.x < cell_min_.x || key.x > cell_max_.x || key.z < cell_min_.z || key.z > cell_max_.z) {
      continue;
    }
    uint32_t i = 0;
    while (i < w.count && cells_[w.cells[i]].key != key) ++i;
    if (i == w.count) {
      const uint32_t cell = w.count < kActiveCellsMax ? watch(key) : kNoCell;
      if (cell == kNoCell) {
        ++counters_.cells_refused;
        continue;
      }
      w.cells[i] = static_cast<uint16_t>(cell);
      w.joining |= uint64_t{1} << i;
      use(cell, encoding_of(w), uses_of(w, i), 1);
      ++w.count;
      request(cell, join_requests(w));
    }
    w.stale |= uint64_t{1} << i;
  }
  decide(w, position);
}

bool InterestTable::has(uint32_t watcher, CellKey key) const {
  const Watcher& w = watchers_[watcher];
  for (uint32_t i = 0; i < w.count; ++i) {
    if (cells_[w.cells[i]].key == key) return true;
  }
  return false;
}

bool InterestTable::follows(uint32_t watcher, CellKey key) const {
  const Watcher& w = watchers_[watcher];
  for (uint32_t i = 0; i < w.count; ++i) {
    if (cells_[w.cells[i]].key != key) continue;
    if (((w.joining | w.dropping) >> i & 1) != 0 || level_of(w, i) != kFullLevel) return false;
    return (w.state & kIsPacked) == 0 || (w.chained >> i & 1) != 0;
  }
  return false;
}

bool InterestTable::heal(uint32_t watcher, CellKey key) {
  Watcher& w = watchers_[watcher];
  if ((w.state & kIsPacked) == 0) return false;
  for (uint32_t i = 0; i < w.count; ++i) {
    const uint64_t bit = uint64_t{1} << i;
    if (cells_[w.cells[i]].key != key) continue;
    if ((w.dropping & bit) != 0) return false;
    if ((w.joining & bit) != 0) return true;  // a keyframe is due anyway
    w.healing |= bit;
    ++counters_.heals;
    request(w.cells[i], kPackedKeyframe);
    return true;
  }
  return false;
}

// --- watched cells ---

uint32_t InterestTable::watch(CellKey key) {
  uint32_t i = cell_of_.find(key.packed());
  if (i != FlatMap::kAbsent) return i;
  if (free_cells_ != 0) {
    i = free_cells_ - 1;
    free_cells_ = cells_[i].next_free;
  } else if (cells_used_ < cells_.size()) {
    i = cells_used_++;
  } else {
    return kNoCell;
  }
  cells_[i] = WatchedCell{};
  cells_[i].key = key;
  publications_[i] = Publication{};
  published_at_[i] = 0;
  cell_of_.insert(key.packed(), i);
  return i;
}

// `watchers`: 1 or -1 for each of the levels.
void InterestTable::use(uint32_t i, Encoding encoding, uint8_t levels, int32_t watchers) {
  for (uint32_t level = 0; level < kLevels; ++level) {
    if ((levels >> level & 1) == 0) continue;
    uint32_t& count = cells_[i].watchers[static_cast<uint32_t>(encoding)][level];
    const uint32_t before = count;
    count += static_cast<uint32_t>(watchers);
    if (before == 0 || count == 0) mark_changed(i);
  }
}

uint8_t InterestTable::levels_wanted(uint32_t i, Encoding encoding) const {
  uint8_t levels = 0;
  for (uint32_t level = 0; level < kLevels; ++level) {
    if (cells_[i].watchers[static_cast<uint32_t>(encoding)][level] != 0) {
      levels |= static_cast<uint8_t>(1U << level);
    }
  }
  return levels;
}

void InterestTable::request(uint32_t i, uint8_t requests) {
  cells_[i].requests |= requests;
  mark_changed(i);
}

void InterestTable::mark_changed(uint32_t i) {
  if (cells_[i].queued) return;
  cells_[i].queued = 1;
  changed_[changed_count_++] = static_cast<uint16_t>(i);
}

void InterestTable::post_changes(InterestEvents& events) {
  constexpr uint8_t kPackedRequests = kPackedKeyframe | kPackedTracks | kPackedDrop;
  uint32_t kept = 0;
  for (uint32_t at = 0; at < changed_count_; ++at) {
    const uint16_t i = changed_[at];
    WatchedCell& cell = cells_[i];
    const uint8_t packed = levels_wanted(i, Encoding::kPacked);
    const uint8_t protobuf = levels_wanted(i, Encoding::kProtobuf);
    // Who asked may be gone again.
    if (packed == 0) cell.requests &= static_cast<uint8_t>(~kPackedRequests);
    if (protobuf == 0) cell.requests &= kPackedRequests;
    const base::ShardId owner =
        owners_ != nullptr ? owners_->owner(cell.key) : owner_of(cell.key, scale_.shard_count);
    if ((protobuf != cell.posted[0] || packed != cell.posted[1] || cell.requests != 0) &&
        !events.interest_changed(owner, cell.key, packed, protobuf, cell.requests)) {
      changed_[kept++] = i;
      continue;
    }
    cell.posted[0] = protobuf;
    cell.posted[1] = packed;
    cell.requests = 0;
    cell.queued = 0;
    if ((packed | protobuf) != 0) continue;
    cell_of_.erase(cell.key.packed());
    cell.next_free = free_cells_;
    free_cells_ = i + 1u;
  }
  changed_count_ = kept;
}

size_t InterestTable::bytes() const {
  return watchers_.bytes() + cells_.bytes() + publications_.bytes() + published_at_.bytes() +
         changed_.bytes() + cell_of_.bytes();
}

}  // namespace tidegate::world
