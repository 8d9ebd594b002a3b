// SPDX-License-Identifier: Apache-2.0
// How far a watcher sees in a crowd: not so far that there are more entities in view than
// configured, and never nearer than configured. Cells are whole, so the radius is that of the
// farthest cell which still fits. It shrinks at once and grows by half a cell at a time, when what
// is known to stand in the larger circle leaves room; a watcher that found it too full is patient.
// docs/decisions/0009-crowds.md.
#include <algorithm>
#include <cmath>

#include "world/interest.h"

namespace tidegate::world {

namespace {

int32_t floor_sqrt(int64_t v) { return static_cast<int32_t>(std::sqrt(static_cast<double>(v))); }

constexpr uint8_t kPatience = 8;   // seconds until a radius that shrank may grow
constexpr uint8_t kGrowEvery = 2;  // ... and then

}  // namespace

// Once a second.
void InterestTable::watch_crowd(Watcher& w) {
  if (crowd_entities_ == 0) return;
  struct Ring {
    int64_t distance;  // squared
    uint32_t members;
  };
  Ring rings[kActiveCellsMax];
  uint32_t count = 0;
  uint64_t sum = 0;
  for (uint32_t i = 0; i < w.count; ++i) {
    if ((w.dropping >> i & 1) != 0) continue;
    rings[count++] = {distance_of(w, i), cells_[w.cells[i]].members};
    sum += cells_[w.cells[i]].members;
  }
  const uint16_t before = w.crowd_steps;
  if (sum > crowd_entities_) {
    std::sort(rings, rings + count,
              [](const Ring& a, const Ring& b) { return a.distance < b.distance; });
    sum = 0;
    for (uint32_t i = 0; i < count; ++i) {
      sum += rings[i].members;
      if (sum <= crowd_entities_ || rings[i].distance <= square(crowd_steps_min_)) continue;
      w.crowd_steps = static_cast<uint16_t>(floor_sqrt(rings[i].distance - 1));
      w.crowd_wait = kPatience;
      break;
    }
  } else if (w.crowd_steps != kNoCrowd) {
    if (w.crowd_wait != 0) --w.crowd_wait;
    const int32_t larger = w.crowd_steps + scale_.cell_steps / 2;
    if (w.crowd_wait == 0 && known_within(w, larger) <= crowd_entities_ - crowd_entities_ / 8) {
      w.crowd_steps =
          larger > w.view_steps + scale_.cell_steps / 4 ? kNoCrowd : static_cast<uint16_t>(larger);
      w.crowd_wait = kGrowEvery;
    }
  }
  if (w.crowd_steps == before) return;
  ++(w.crowd_steps < before ? counters_.views_shrunk : counters_.views_grown);
  w.state |= kDecide;
}

// Members of the cells in that distance, as far as this shard has watchers there.
uint64_t InterestTable::known_within(const Watcher& w, int32_t steps) const {
  const int32_t reach = std::min<int32_t>(steps, w.view_steps);
  const CellKey from = scale_.cell_of({w.x - reach, 0, w.z - reach});
  const CellKey to = scale_.cell_of({w.x + reach, 0, w.z + reach});
  uint64_t sum = 0;
  for (int z = from.z; z <= to.z; ++z) {
    for (int x = from.x; x <= to.x; ++x) {
      const CellKey key{static_cast<int16_t>(x), static_cast<int16_t>(z)};
      const uint32_t cell = cell_of_.find(key.packed());
      if (cell == FlatMap::kAbsent) continue;
      if (distance_squared(key, scale_.cell_steps, w.x, w.z) > square(reach)) continue;
      sum += cells_[cell].members;
    }
  }
  return sum;
}

// Cells further away than that are off.
int32_t InterestTable::reach_steps(const Watcher& w) const {
  int32_t reach = w.cut_steps;
  if (w.crowd_steps != kNoCrowd) reach = std::min<int32_t>(reach, w.crowd_steps);
  if (w.budget.rung() >= Rung::kNear) reach = std::min(reach, rate_steps_[kFullLevel]);
  return reach;
}

bool InterestTable::take_view_change(uint32_t watcher, float* metres) {
  Watcher& w = watchers_[watcher];
  // Where the circle ends near the view distance, cells at the edge of it may not be there.
  const int32_t margin = scale_.cell_steps / kReachMarginDivisor;
  const int32_t view = w.view_steps;
  const int32_t reach = reach_steps(w);
  const auto now = static_cast<uint16_t>(
      reach - margin >= view ? view : std::max(1, std::min(reach, view - margin)));
  if (now == w.told_steps) return false;
  w.told_steps = now;
  *metres = static_cast<float>(now) * scale_.metres_per_step;
  return true;
}

}  // namespace tidegate::world
