// SPDX-License-Identifier: Apache-2.0
#include "sdk/world.h"

#include <algorithm>
#include <cmath>

namespace tidegate::sdk {

namespace {

// How long an entity that went to a cell in view may take to turn up there, in ticks.
constexpr uint32_t kHandoverTicks = 16;
constexpr uint32_t kRowsAtStart = 256;
constexpr size_t kNameRoom = 64;
constexpr double kPi = 3.14159265358979323846;

double yaw_of(const wire::Quaternion& q) {
  const double yaw = 2 * std::atan2(static_cast<double>(q.y), static_cast<double>(q.w));
  return yaw > kPi ? yaw - 2 * kPi : yaw <= -kPi ? yaw + 2 * kPi : yaw;
}
uint32_t key_of(int16_t x, int16_t z) {
  return static_cast<uint32_t>(static_cast<uint16_t>(x)) << 16 | static_cast<uint16_t>(z);
}

}  // namespace

World::World(uint32_t entities_most, bool with_tracks)
    : names_(kRowsAtStart), entities_most_(entities_most), with_tracks_(with_tracks) {
  entities_.reserve(kRowsAtStart);
  if (with_tracks) tracks_.reserve(kRowsAtStart);
  for (auto* list : {&free_, &dirty_, &removed_, &added_, &changed_}) list->reserve(kRowsAtStart);
}

uint32_t World::find(std::string_view name) const {
  const uint32_t row = names_.find(name, name_of());
  return row;
}

uint32_t World::take(std::string_view name) {
  uint32_t row = names_.find(name, name_of());
  if (row != NameMap::kNone) {
    entities_[row].touched = true;
    list(row);
    return row;
  }
  if (count_ >= entities_most_) {
    ++counters_.overflow;
    return NameMap::kNone;
  }
  if (free_.empty()) {
    row = rows();
    entities_.emplace_back();
    entities_.back().name.reserve(kNameRoom);
    if (with_tracks_) tracks_.emplace_back();
  } else {
    row = free_.back();
    free_.pop_back();
  }
  Entity& e = entities_[row];
  e.name.assign(name);
  e.custom.clear();
  e.kind = e.flags = e.tick = e.wait_until = 0;
  e.x = e.y = e.z = e.yaw = 0;
  e.vx = e.vy = e.vz = 0;
  e.cell = Entity::kNoCell;
  e.live = e.fresh = true;
  e.touched = e.left = false;
  if (with_tracks_) tracks_[row].clear();
  names_.add(name, row, name_of());
  ++count_;
  list(row);
  return row;
}

void World::list(uint32_t row) {
  if (entities_[row].listed) return;
  entities_[row].listed = true;
  dirty_.push_back(row);
}

// ---- protobuf

void World::apply_world_state(base::Bytes payload) {
  ++counters_.frames;
  // It replaces what there is: who does not stand in it has left.
  for (uint32_t row = 0; row < rows(); ++row) {
    if (!entities_[row].live) continue;
    entities_[row].left = true;
    entities_[row].wait_until = 0;
    list(row);
  }
  counters_.malformed += !client::read_world_state(payload, *this);
}

void World::apply_zone_update(base::Bytes payload) {
  ++counters_.frames;
  counters_.malformed += !client::read_zone_update(payload, *this);
}

void World::on_spawn(const wire::PlayerStateUpdate& state, uint32_t kind, base::Bytes custom,
                     bool snapshot) {
  const uint32_t row = take(state.player_id);
  if (row == NameMap::kNone) return;
  Entity& e = entities_[row];
  e.kind = kind;
  if (state.has_position) {
    e.x = static_cast<double>(state.position.x);
    e.y = static_cast<double>(state.position.y);
    e.z = static_cast<double>(state.position.z);
  }
  if (state.has_rotation) e.yaw = yaw_of(state.rotation);
  if (state.has_velocity) {
    e.vx = state.velocity.x;
    e.vy = state.velocity.y;
    e.vz = state.velocity.z;
  }
  e.flags = state.state_flags;
  e.tick = state.tick != 0 ? state.tick : tick_;
  tick_ = std::max(tick_, state.tick);
  if (!snapshot) e.custom.assign(custom.begin(), custom.end());
  e.left = false;
}

void World::on_despawn(std::string_view name) {
  const uint32_t row = find(name);
  if (row == NameMap::kNone) {
    ++counters_.strays;
    return;
  }
  entities_[row].left = true;
  entities_[row].wait_until = 0;
  list(row);
}

void World::on_update(const wire::PlayerStateDelta& delta, base::Bytes custom) {
  ++counters_.updates;
  const uint32_t row = find(delta.player_id);
  if (row == NameMap::kNone) {
    ++counters_.strays;
    return;
  }
  Entity& e = entities_[row];
  if (delta.changed_fields & wire::kChangedPosition) {
    e.x = static_cast<double>(delta.position.x);
    e.y = static_cast<double>(delta.position.y);
    e.z = static_cast<double>(delta.position.z);
  }
  if (delta.changed_fields & wire::kChangedRotation) e.yaw = yaw_of(delta.rotation);
  if (delta.changed_fields & wire::kChangedVelocity) {
    e.vx = delta.velocity.x;
    e.vy = delta.velocity.y;
    e.vz = delta.velocity.z;
  }
  if (delta.changed_fields & wire::kChangedFlags) e.flags = delta.state_flags;
  if (!custom.empty()) e.custom.assign(custom.begin(), custom.end());
  e.tick = delta.delta_tick != 0 ? delta.delta_tick : tick_;
  tick_ = std::max(tick_, delta.delta_tick);
  e.touched = true;
  list(row);
}

// ---- packed

uint32_t World::find_cell(int16_t x, int16_t z) const {
  const uint32_t key = key_of(x, z);
  for (uint32_t i = 0; i < cells_.size(); ++i) {
    if (cell_keys_[i] == key && cells_[i]->live) return i;
  }
  return Entity::kNoCell;
}

World::Applied World::apply_cell_frame(base::Bytes frame, uint32_t tick) {
  ++counters_.frames;
  if (!wire::CellImage::read_header(frame, &header_)) {
    ++counters_.malformed;
    return {wire::CellStatus::kMalformed, nullptr};
  }
  header_.tick = tick;
  tick_ = std::max(tick_, tick);
  applying_ = find_cell(header_.cell_x, header_.cell_z);
  if (header_.drop) {
    ++counters_.drops;
    if (applying_ == Entity::kNoCell) return {};
    Cell& cell = *cells_[applying_];
    const wire::CellStatus status = cell.image.apply(frame, tick, this);
    if (status != wire::CellStatus::kOk) {
      ++counters_.malformed;
      return {status, &cell.image};
    }
    cell.live = false;
    --cell_count_;
    return {};
  }
  counters_.keyframes += header_.keyframe;
  counters_.checksums += header_.has_checksum;
  if (applying_ == Entity::kNoCell) {
    for (applying_ = 0; applying_ < cells_.size() && cells_[applying_]->live;) ++applying_;
    if (applying_ == cells_.size()) {
      cells_.push_back(std::make_unique<Cell>());
      cell_keys_.push_back(0);
    }
    cell_keys_[applying_] = key_of(header_.cell_x, header_.cell_z);
    cells_[applying_]->live = true;
    cells_[applying_]->looked = false;
    ++cell_count_;
  }
  Cell& cell = *cells_[applying_];
  const wire::CellStatus status = cell.image.apply(frame, tick, this);
  counters_.checksum_mismatches += status == wire::CellStatus::kChecksumMismatch;
  counters_.missing_references += status == wire::CellStatus::kMissingReference;
  counters_.malformed += status == wire::CellStatus::kMalformed;
  return {status, &cell.image};
}

const wire::CellImage* World::quiet_cell() {
  // Two walks: how many are quiet, then the one whose turn it is.
  uint32_t quiet = 0;
  const auto is_quiet = [](const Cell& c) {
    return c.live && c.looked && c.image.has_frame() && c.image.header().frame == c.looked_frame;
  };
  for (const auto& cell : cells_) quiet += is_quiet(*cell);
  const Cell* found = nullptr;
  if (quiet > 0) {
    uint32_t turn = ++audited_ % quiet;
    for (const auto& cell : cells_) {
      if (!is_quiet(*cell) || turn-- != 0) continue;
      found = cell.get();
      break;
    }
  }
  for (const auto& cell : cells_) {
    cell->looked = cell->live && cell->image.has_frame();
    if (cell->looked) cell->looked_frame = cell->image.header().frame;
  }
  return found == nullptr ? nullptr : &found->image;
}

uint32_t World::slot_of(const wire::CellImage::Member& member) const {
  return static_cast<uint32_t>(&member - cells_[applying_]->image.slots().data());
}

void World::on_enter(const wire::CellImage::Member& member) {
  const uint32_t row = take(member.name);
  std::vector<uint32_t>& rows = cells_[applying_]->rows;
  const uint32_t slot = slot_of(member);
  if (slot >= rows.size()) rows.resize(slot + 1, NameMap::kNone);
  rows[slot] = row;
  if (row == NameMap::kNone) return;
  Entity& e = entities_[row];
  e.cell = applying_;
  e.slot = slot;
  e.left = false;
  read(e, member);
}

void World::on_leave(const wire::CellImage::Member& member, const wire::CellLeave& leave) {
  std::vector<uint32_t>& rows = cells_[applying_]->rows;
  const uint32_t slot = slot_of(member);
  if (slot >= rows.size() || rows[slot] == NameMap::kNone) return;
  const uint32_t row = rows[slot];
  rows[slot] = NameMap::kNone;
  Entity& e = entities_[row];
  // It may have entered its next cell already.
  if (!e.live || e.cell != applying_ || e.slot != slot) return;
  e.cell = Entity::kNoCell;
  const bool in_view = leave.to_cell && find_cell(leave.cell_x, leave.cell_z) != Entity::kNoCell;
  e.wait_until = in_view ? tick_ + kHandoverTicks : 0;
  e.left = true;
  list(row);
}

void World::on_change(const wire::CellImage::Member& member) {
  ++counters_.updates;
  const std::vector<uint32_t>& rows = cells_[applying_]->rows;
  const uint32_t slot = slot_of(member);
  if (slot >= rows.size() || rows[slot] == NameMap::kNone) return;
  Entity& e = entities_[rows[slot]];
  if (!e.live || e.cell != applying_ || e.slot != slot) return;
  read(e, member);
  e.touched = true;
  list(rows[slot]);
}

void World::read(Entity& e, const wire::CellImage::Member& m) {
  e.kind = m.kind;
  e.x = header_.cell_x * cell_size + m.x * position_step;
  e.y = m.y * position_step;
  e.z = header_.cell_z * cell_size + m.z * position_step;
  e.yaw = (m.yaw > 128 ? m.yaw - 256 : m.yaw) * (kPi / 128);
  e.flags = m.flags;
  e.tick = header_.tick;
}

// ---- both

void World::end_message() {
  removed_.clear();
  added_.clear();
  changed_.clear();
  size_t kept = 0;
  for (const uint32_t row : dirty_) {
    Entity& e = entities_[row];
    if (e.left && e.wait_until > tick_) {
      // Still on its way between two cells; it is shown where it was.
      dirty_[kept++] = row;
      if (e.fresh) {
        e.fresh = false;
        added_.push_back(row);
      }
      continue;
    }
    e.listed = false;
    if (e.left) {
      // Who came and left within one message was never there.
      if (!e.fresh) removed_.push_back(row);
      names_.remove(e.name, name_of());
      e.live = false;
      --count_;
      if (e.fresh) free_.push_back(row);
    } else if (e.fresh) {
      added_.push_back(row);
    } else if (e.touched) {
      changed_.push_back(row);
    }
    e.fresh = e.touched = e.left = false;
  }
  dirty_.resize(kept);
}

void World::release() {
  free_.insert(free_.end(), removed_.begin(), removed_.end());
  removed_.clear();
}

void World::clear() {
  removed_.clear();
  added_.clear();
  changed_.clear();
  dirty_.clear();
  for (uint32_t row = 0; row < rows(); ++row) {
    Entity& e = entities_[row];
    if (e.live && !e.fresh) removed_.push_back(row);
    if (e.live && e.fresh) free_.push_back(row);
    e.live = e.fresh = e.touched = e.left = e.listed = false;
  }
  names_.clear();
  count_ = 0;
  cells_.clear();
  cell_keys_.clear();
  cell_count_ = 0;
  tick_ = 0;
}

}  // namespace tidegate::sdk
