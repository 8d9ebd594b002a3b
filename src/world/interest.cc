// SPDX-License-Identifier: Apache-2.0
// Which cells a watcher wants, and what owners are told. gather.cc has the flush.
#include "world/interest.h"

#include <algorithm>

namespace tidegate::world {

namespace {

// Distance kept between the circle that joins cells and the one that keeps them, and how far a
// watcher may go before its cells are decided anew (its circle is larger by that much).
constexpr int32_t kMarginDivisor = 4;  // of the cell's edge: 16 m
constexpr int32_t kSlackDivisor = 64;  // 1 m

int64_t square(int64_t v) { return v * v; }

// Squared distance from a point to the square of a cell.
int64_t distance_squared(CellKey key, int32_t cell_steps, int32_t x, int32_t z) {
  const int64_t low_x = int64_t{key.x} * cell_steps;
  const int64_t low_z = int64_t{key.z} * cell_steps;
  const int64_t dx = std::max<int64_t>({0, low_x - x, x - (low_x + cell_steps - 1)});
  const int64_t dz = std::max<int64_t>({0, low_z - z, z - (low_z + cell_steps - 1)});
  return square(dx) + square(dz);
}

}  // namespace

InterestTable::InterestTable(const WorldConfig& config, uint32_t watchers, uint32_t cells)
    : scale_(config),
      view_metres_(config.view_distance),
      cell_min_(scale_.cell_of(scale_.bounds_min)),
      cell_max_(scale_.cell_of(scale_.bounds_max)),
      watchers_(watchers),
      cells_(cells),
      publications_(cells),
      changed_(cells),
      cell_of_(cells) {
  TG_ASSERT(cells <= 65'535);
}

void InterestTable::add(uint32_t watcher, Encoding encoding, float view_distance,
                        const Steps3& position) {
  Watcher& w = watchers_[watcher];
  TG_ASSERT(w.state == 0);
  w = Watcher{};
  w.state = encoding == Encoding::kPacked ? kInUse | kIsPacked : kInUse | kWorldDue;
  set_view(watcher, view_distance, position);
}

void InterestTable::set_view(uint32_t watcher, float view_distance, const Steps3& position) {
  Watcher& w = watchers_[watcher];
  TG_ASSERT(w.state != 0);
  const bool asked = view_distance > 0.0F && view_distance < view_metres_;
  w.view_steps =
      static_cast<uint16_t>(to_steps(asked ? view_distance : view_metres_, scale_.metres_per_step));
  decide(w, position);
}

void InterestTable::remove(uint32_t watcher) {
  Watcher& w = watchers_[watcher];
  TG_ASSERT(w.state != 0);
  while (w.count != 0) forget(w, w.count - 1u);
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

void InterestTable::decide(Watcher& w, const Steps3& position) {
  w.x = position[0];
  w.z = position[2];
  const int32_t step = scale_.cell_steps;
  const int32_t join_radius = w.view_steps + step / kSlackDivisor;
  const int64_t keep = square(int64_t{w.view_steps} + step / kMarginDivisor);
  const int64_t join = square(join_radius);
  const bool packed = (w.state & kIsPacked) != 0;
  const Encoding encoding = packed ? Encoding::kPacked : Encoding::kProtobuf;

  for (uint32_t i = w.count; i-- > 0;) {
    const uint64_t bit = uint64_t{1} << i;
    const bool far = distance_squared(cells_[w.cells[i]].key, step, w.x, w.z) > keep;
    if (!far) {
      w.dropping &= ~bit;
    } else if ((w.joining & bit) != 0 && (w.state & kStale) == 0) {
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
      if (distance_squared(key, step, w.x, w.z) > join) continue;
      const uint32_t cell = w.count < kActiveCellsMax ? watch(key, encoding) : kNoCell;
      if (cell == kNoCell) {
        ++counters_.cells_refused;
        continue;
      }
      w.cells[w.count] = static_cast<uint16_t>(cell);
      w.joining |= uint64_t{1} << w.count;
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

// Takes cells[i] off the watcher's list; the last one moves into its place.
void InterestTable::forget(Watcher& w, uint32_t i) {
  unwatch(w.cells[i], (w.state & kIsPacked) != 0 ? Encoding::kPacked : Encoding::kProtobuf);
  const uint32_t last = w.count - 1u;
  w.cells[i] = w.cells[last];
  for (uint64_t* bits : {&w.joining, &w.dropping, &w.healing}) {
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
  } else {
    w.state |= kStale;
  }
  for (uint32_t i = 0; i < w.count; ++i) {
    w.joining |= uint64_t{1} << i;
    request(w.cells[i], join_requests(w));
  }
}

bool InterestTable::has(uint32_t watcher, CellKey key) const {
  const Watcher& w = watchers_[watcher];
  for (uint32_t i = 0; i < w.count; ++i) {
    if (cells_[w.cells[i]].key == key) return true;
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

uint32_t InterestTable::watch(CellKey key, Encoding encoding) {
  uint32_t i = cell_of_.find(key.packed());
  if (i == FlatMap::kAbsent) {
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
    cell_of_.insert(key.packed(), i);
  }
  if (cells_[i].watchers[static_cast<uint32_t>(encoding)]++ == 0) mark_changed(i);
  return i;
}

void InterestTable::unwatch(uint32_t i, Encoding encoding) {
  if (--cells_[i].watchers[static_cast<uint32_t>(encoding)] == 0) mark_changed(i);
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
  constexpr uint8_t kPackedRequests = kPackedKeyframe | kPackedDrop;
  uint32_t kept = 0;
  for (uint32_t at = 0; at < changed_count_; ++at) {
    const uint16_t i = changed_[at];
    WatchedCell& cell = cells_[i];
    const bool packed = cell.watchers[static_cast<uint32_t>(Encoding::kPacked)] != 0;
    const bool protobuf = cell.watchers[static_cast<uint32_t>(Encoding::kProtobuf)] != 0;
    // Who asked may be gone again.
    if (!packed) cell.requests &= static_cast<uint8_t>(~kPackedRequests);
    if (!protobuf) cell.requests &= kPackedRequests;
    const auto wanted = static_cast<uint8_t>((packed ? 1 : 0) | (protobuf ? 2 : 0));
    if ((wanted != cell.posted || cell.requests != 0) &&
        !events.interest_changed(owner_of(cell.key, scale_.shard_count), cell.key, packed, protobuf,
                                 cell.requests)) {
      changed_[kept++] = i;
      continue;
    }
    cell.posted = wanted;
    cell.requests = 0;
    cell.queued = 0;
    if (wanted != 0) continue;
    cell_of_.erase(cell.key.packed());
    cell.next_free = free_cells_;
    free_cells_ = i + 1u;
  }
  changed_count_ = kept;
}

size_t InterestTable::bytes() const {
  return watchers_.bytes() + cells_.bytes() + publications_.bytes() + changed_.bytes() +
         cell_of_.bytes();
}

}  // namespace tidegate::world
