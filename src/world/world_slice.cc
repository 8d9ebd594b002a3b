// SPDX-License-Identifier: Apache-2.0
// Entities coming, going and held by connections; subscriptions; encode. simulate.cc has the rest.
#include "world/world_slice.h"

#include <cstring>

namespace tidegate::world {

WorldSlice::WorldSlice(const WorldConfig& config, ShardId self)
    : WorldSlice(config, self,
                 tick_arena_bytes(config.entities, config.cells) +
                     (config.custom_state ? size_t{config.entities} * 4 * kCustomBytesMax : 0)) {}

WorldSlice::WorldSlice(const WorldConfig& config, ShardId self, size_t arena_bytes)
    : scale_(config),
      self_(self),
      owners_(config.shard_count, config.moved_cells),
      entities_(config.entities, config.custom_state),
      npcs_(config.npcs),
      history_(config.entities, config.history_ticks),
      cells_(config.cells, config.entities),
      arena_(arena_bytes),
      encoder_(config, scale_, entities_, cells_, arena_),
      inputs_(size_t{config.entities} * 4),
      active_(config.entities),
      give_memory_(move_bytes_max(config)),
      members_(give_memory_.size() == 0 ? 0 : config.entities) {}

// What is no player has room of its own, so that it never takes a player's.
bool WorldSlice::has_room(EntityKind kind) const {
  return entities_.count() < entities_.limit() &&
         (kind == EntityKind::kPlayer || entities_.others() < npcs_);
}

// Entities on their way out are not found: they take no input and no connection.
EntitySlot WorldSlice::find_present(EntityId id) const {
  const EntitySlot s = entities_.find(id);
  if (s == kNoEntity || (entities_.membership(s).state & (kLeaving | kOutOfCell)) != 0) {
    return kNoEntity;
  }
  return s;
}

Queued WorldSlice::not_here(EntityId id) const {
  const ShardId to = entities_.forwarded_to(id);
  if (to.valid()) return {QueueStatus::kForward, to};
  return {QueueStatus::kUnknown, {}};
}

void WorldSlice::activate(EntitySlot s) {
  Membership& membership = entities_.membership(s);
  if (membership.state & kActive) return;
  membership.state |= kActive;
  active_[active_count_++] = s;
}

SpawnStatus WorldSlice::spawn(EntityId id, const SpawnSpec& spec, uint32_t now_tick) {
  if (spec.player_id.empty() || spec.player_id.size() > kPlayerIdBytesMax) {
    return SpawnStatus::kBadName;
  }
  const CellKey key = scale_.cell_of(spec.position);
  if (!scale_.in_bounds(spec.position) || owners_.owner(key) != self_) {
    return SpawnStatus::kNotOwner;
  }
  if (entities_.find(id) != kNoEntity) return SpawnStatus::kExists;
  if (!has_room(spec.kind) || !cells_.has_room(key)) return SpawnStatus::kFull;
  const EntitySlot s = entities_.add(id, spec.player_id, spec.kind);
  history_.begin(s);
  Image& image = entities_.image(s);
  image.position = image.base = spec.position;
  image.yaw = image.base_yaw = spec.yaw;
  std::memcpy(image.velocity, spec.velocity, sizeof image.velocity);
  image.flags = spec.flags;
  Control& control = entities_.control(s);
  control.connection = spec.connection;
  control.connection_shard = spec.connection_shard;
  control.budget = scale_.budget_max;
  control.budget_tick = now_tick;
  control.tag = spec.tag;
  control.stamp = spec.stamp;
  control.simulated_tick = now_tick - 1;
  if (spec.remote) {
    entities_.membership(s).state |= kRemote;
  } else if (spec.connection.valid()) {
    entities_.membership(s).state |= kResultPending;
    activate(s);
  } else if (spec.kind == EntityKind::kPlayer) {
    set_linger(s, now_tick);
  }
  cells_.enter(cells_.obtain(key), entities_, s, nullptr, now_tick);
  ++counters_.spawned;
  return SpawnStatus::kOk;
}

void WorldSlice::set_linger(EntitySlot s, uint32_t now_tick) {
  Control& control = entities_.control(s);
  // 0 means that it does not linger; one tick more does no harm when the count wraps.
  const uint32_t deadline = now_tick + scale_.linger_ticks;
  control.linger_deadline = deadline == 0 ? 1 : deadline;
  count_linger(control.linger_deadline);
}

void WorldSlice::count_linger(uint32_t deadline) {
  if (lingering_ == 0 || static_cast<int32_t>(deadline - linger_check_) < 0) {
    linger_check_ = deadline;
  }
  ++lingering_;
}

void WorldSlice::end_linger(EntitySlot s) {
  Control& control = entities_.control(s);
  if (control.linger_deadline == 0) return;
  control.linger_deadline = 0;
  --lingering_;
}

void WorldSlice::restore_control(EntityId id, const Control& from) {
  const EntitySlot s = find_present(id);
  TG_ASSERT(s != kNoEntity);
  end_linger(s);
  Control& control = entities_.control(s);
  control = from;
  // What its last owner knew of its home may have been on the way.
  entities_.membership(s).state |= kCameWithCell;
  activate(s);
  if (from.linger_deadline != 0) count_linger(from.linger_deadline);
}

Queued WorldSlice::attach(EntityId id, ShardId shard, ConnectionRef connection, uint32_t stamp) {
  const EntitySlot s = find_present(id);
  if (s == kNoEntity) return not_here(id);
  end_linger(s);
  Control& control = entities_.control(s);
  control.connection = connection;
  control.connection_shard = shard;
  // Its client begins to count anew.
  control.client_tick = 0;
  Membership& membership = entities_.membership(s);
  membership.state =
      static_cast<uint8_t>((membership.state & ~(kCorrected | kAcknowledges)) | kResultPending);
  if (stamp != 0) {
    control.stamp = stamp;
    if ((membership.state & kRemote) != 0) control.budget = scale_.budget_max;
    membership.state &= static_cast<uint8_t>(~kRemote);
  }
  activate(s);
  return {};
}

Queued WorldSlice::yield(EntityId id, uint32_t stamp) {
  const EntitySlot s = find_present(id);
  if (s == kNoEntity) return not_here(id);
  end_linger(s);
  Control& control = entities_.control(s);
  control.connection = {};
  control.connection_shard = {};
  control.stamp = stamp;
  Membership& membership = entities_.membership(s);
  membership.state = static_cast<uint8_t>(
      (membership.state & ~(kResultPending | kCorrected | kAcknowledges)) | kRemote);
  return {};
}

Queued WorldSlice::detach(EntityId id, ShardId shard, ConnectionRef connection, uint32_t now_tick) {
  const EntitySlot s = find_present(id);
  if (s == kNoEntity) return not_here(id);
  Control& control = entities_.control(s);
  if (control.connection_shard != shard || control.connection != connection) return {};
  control.connection = {};
  control.connection_shard = {};
  if (entities_.image(s).kind == EntityKind::kPlayer) set_linger(s, now_tick);
  return {};
}

Queued WorldSlice::remove(EntityId id) {
  const EntitySlot s = find_present(id);
  if (s == kNoEntity) return not_here(id);
  entities_.membership(s).state |= kLeaving;
  activate(s);
  return {};
}

// `newer` over `older`: what the newer one does not say stays.
static void merge_input(const Input& newer, Input* older) {
  Input merged = newer;
  if ((newer.has & Input::kPosition) == 0) merged.position = older->position;
  if ((newer.has & Input::kYaw) == 0) merged.yaw = older->yaw;
  if ((newer.has & Input::kVelocity) == 0) {
    for (int i = 0; i < 3; ++i) merged.velocity[i] = older->velocity[i];
  }
  merged.has = newer.has | older->has;
  *older = merged;
}

Queued WorldSlice::queue_input(EntityId id, const Input& input) {
  const EntitySlot s = find_present(id);
  if (s == kNoEntity) return not_here(id);
  Membership& membership = entities_.membership(s);
  if ((membership.state & kRemote) != 0) return {QueueStatus::kUnknown, {}};
  if (membership.queued == kInputsPerTick) {
    // The last word counts: it takes the place of the one before it.
    uint32_t i = input_count_ - 1;
    while (i > 0 && inputs_[i].entity != s) --i;
    TG_ASSERT(inputs_[i].entity == s);
    merge_input(input, &inputs_[i].input);
    ++counters_.inputs_merged;
    return {};
  }
  if (input_count_ == inputs_.size()) {
    ++counters_.inputs_dropped;
    return {QueueStatus::kFull, {}};
  }
  ++membership.queued;
  inputs_[input_count_++] = {s, input};
  return {};
}

Queued WorldSlice::place(EntityId id, const Input& to) {
  const EntitySlot s = find_present(id);
  if (s == kNoEntity) return not_here(id);
  Input input = to;
  if ((input.has & Input::kFlags) == 0) input.flags = entities_.image(s).flags;
  const uint8_t changed = change_image(s, input, scale_.clamp(input.position));
  activate(s);
  Control& control = entities_.control(s);
  if ((changed & kChangedPosition) != 0 && control.connection.valid()) {
    // Its client has to hear of it, and its connection's shard where it sees from.
    entities_.membership(s).state |= kResultPending | kAcknowledges | kCorrected;
    control.reason = 0;
  }
  return {};
}

Queued WorldSlice::set_custom(EntityId id, base::Bytes whole, base::Bytes change) {
  TG_ASSERT(entities_.has_custom());
  TG_ASSERT(whole.size() <= kCustomBytesMax && change.size() <= kCustomBytesMax);
  const EntitySlot s = find_present(id);
  if (s == kNoEntity) return not_here(id);
  entities_.custom(s).set(whole, change);
  entities_.custom(s).marked = 0;
  if (whole.empty()) return {};
  mark_changed(entities_.image(s), kChangedCustom);
  cells_.touch(entities_.membership(s));
  return {};
}

Queued WorldSlice::mark_custom(EntityId id, bool* first) {
  TG_ASSERT(entities_.has_custom());
  const EntitySlot s = find_present(id);
  if (s == kNoEntity) return not_here(id);
  *first = entities_.custom(s).marked == 0;
  entities_.custom(s).marked = 1;
  return {};
}

bool WorldSlice::subscribe(ShardId reader, CellKey key, uint8_t packed_levels,
                           uint8_t protobuf_levels, uint8_t requests) {
  TG_ASSERT(reader.value < kShardsMax);
  const uint64_t bit = uint64_t{1} << reader.value;
  uint32_t c = cells_.find(key);
  if (c == kNone) {
    if ((packed_levels | protobuf_levels | requests) == 0) return true;
    c = cells_.obtain(key);
    if (c == kNone) return false;
  }
  Cell& cell = cells_.cell(c);
  const auto assign = [bit](uint64_t& readers, bool reads) {
    readers = reads ? readers | bit : readers & ~bit;
  };
  for (uint32_t level = 0; level < kLevels; ++level) {
    assign(cell.packed_at[level], (packed_levels >> level & 1) != 0);
    assign(cell.protobuf_at[level], (protobuf_levels >> level & 1) != 0);
  }
  assign(cell.packed_readers, packed_levels != 0);
  assign(cell.protobuf_readers, protobuf_levels != 0);
  if (requests != 0) {
    cell.requests |= requests;
    cell.requesters |= bit;
  }
  // Also when nothing is wanted any more: the queue is where unused cells are given back.
  cells_.queue(c);
  return true;
}

void WorldSlice::encode(uint32_t tick, base::UnixMs now_ms, PublicationSink& sink) {
  arena_.reset();
  cells_.drain_queue([&](uint32_t cell) { return encoder_.encode(cell, tick, now_ms, sink); });
}

size_t WorldSlice::bytes() const {
  return entities_.bytes() + history_.bytes() + cells_.bytes() + arena_.size() + encoder_.bytes() +
         inputs_.bytes() + active_.bytes() + owners_.bytes() + give_memory_.bytes() +
         members_.bytes() + sizeof *this;
}

uint64_t WorldSlice::state_hash() const {
  uint64_t sum = 0;
  for (EntitySlot s = 0; s < entities_.high_water(); ++s) {
    if (!entities_.live(s)) continue;
    const Image& image = entities_.image(s);
    const Control& control = entities_.control(s);
    const uint64_t words[] = {
        entities_.id(s).value,
        static_cast<uint32_t>(image.position[0]),
        static_cast<uint32_t>(image.position[1]),
        static_cast<uint32_t>(image.position[2]),
        static_cast<uint64_t>(image.yaw) << 32 | image.flags,
        static_cast<uint64_t>(control.client_tick) << 32 | control.budget,
    };
    uint64_t h = 0x9e3779b97f4a7c15u;
    for (const uint64_t word : words) {
      h = (h ^ word) * 0xbf58476d1ce4e5b9u;
      h ^= h >> 29;
    }
    sum += h;
  }
  return sum;
}

}  // namespace tidegate::world
