// SPDX-License-Identifier: Apache-2.0
#include "world/entity_table.h"

namespace tidegate::world {

EntityTable::EntityTable(uint32_t limit, bool custom)
    : limit_(limit),
      ids_(limit),
      name_refs_(limit),
      images_(limit),
      layer_bases_(limit),
      memberships_(limit),
      controls_(limit),
      customs_(custom ? limit : 0),
      slots_(limit),
      names_(limit),
      departures_(limit),
      departed_(limit) {}

EntitySlot EntityTable::add(EntityId id, std::string_view player_id, EntityKind kind) {
  TG_ASSERT(id.valid() && id.value != 0 && find(id) == kNoEntity);
  EntitySlot slot = free_;
  if (slot != UINT32_MAX) {
    free_ = memberships_[slot].member;
  } else if (high_water_ < limit_) {
    slot = high_water_++;
  } else {
    return kNoEntity;
  }
  ids_[slot] = id.value;
  name_refs_[slot] = names_.add(player_id);
  images_[slot] = Image{};
  images_[slot].kind = kind;
  memberships_[slot] = Membership{};
  memberships_[slot].cell = UINT32_MAX;
  memberships_[slot].member = UINT32_MAX;
  controls_[slot] = Control{};
  if (has_custom()) customs_[slot].clear();
  slots_.insert(id.value, slot);
  ++count_;
  if (kind != EntityKind::kPlayer) ++others_;
  drop_forward(id.value);
  return slot;
}

void EntityTable::remove(EntitySlot slot) {
  TG_ASSERT(live(slot));
  slots_.erase(ids_[slot]);
  names_.remove(name_refs_[slot]);
  ids_[slot] = 0;
  memberships_[slot].member = free_;
  free_ = slot;
  --count_;
  if (images_[slot].kind != EntityKind::kPlayer) --others_;
}

void EntityTable::drop_forward(uint32_t id) {
  const uint32_t i = departed_.find(id);
  if (i == FlatMap::kAbsent) return;
  departures_[i].valid = 0;
  departed_.erase(id);
}

void EntityTable::forward(EntityId id, ShardId to, uint32_t now_tick) {
  drop_forward(id.value);
  if (departures_count_ == limit_) {
    const Departure& oldest = departures_[departures_first_];
    if (oldest.valid) drop_forward(oldest.id);
    departures_first_ = (departures_first_ + 1) % limit_;
    --departures_count_;
  }
  const uint32_t i = (departures_first_ + departures_count_) % limit_;
  departures_[i] = {id.value, now_tick, to.value, 1};
  ++departures_count_;
  departed_.insert(id.value, i);
}

ShardId EntityTable::forwarded_to(EntityId id) const {
  const uint32_t i = departed_.find(id.value);
  return i == FlatMap::kAbsent ? ShardId::none() : ShardId{departures_[i].to};
}

void EntityTable::expire_forwards(uint32_t now_tick) {
  while (departures_count_ != 0) {
    const Departure& oldest = departures_[departures_first_];
    if (now_tick - oldest.tick <= kForwardTicks) return;
    if (oldest.valid) drop_forward(oldest.id);
    departures_first_ = (departures_first_ + 1) % limit_;
    --departures_count_;
  }
}

size_t EntityTable::bytes() const {
  return ids_.bytes() + name_refs_.bytes() + images_.bytes() + layer_bases_.bytes() +
         memberships_.bytes() + controls_.bytes() + customs_.bytes() + slots_.bytes() +
         names_.bytes() + departures_.bytes() + departed_.bytes();
}

}  // namespace tidegate::world
