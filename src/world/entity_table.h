// SPDX-License-Identifier: Apache-2.0
// The entities a shard owns, as arrays by use: what the encoder reads each tick, what only input
// touches, what is rarely needed. Ids are found through a flat map; ids that left within the last
// 64 ticks leave a forwarding address.
// Thread: shard. Owner: WorldSlice. Limits: `limit` entities and as many forwarding addresses; all
// memory at construction. About 210 bytes an entity and the name (bytes_per_entity()).
#pragma once

#include <cstdint>
#include <string_view>

#include "base/ids.h"
#include "wire/cell_codec.h"
#include "world/custom_state.h"
#include "world/flat_map.h"
#include "world/name_slab.h"
#include "world/world_config.h"

namespace tidegate::world {

using base::ConnectionRef;
using base::EntityId;
using base::ShardId;

using EntitySlot = uint32_t;
inline constexpr EntitySlot kNoEntity = UINT32_MAX;

enum class EntityKind : uint8_t { kPlayer = 0, kNpc = 1, kObject = 2 };

// Bits of Image::changed and the protocol's changed_fields.
enum ChangedField : uint8_t {
  kChangedPosition = 1,
  kChangedYaw = 2,
  kChangedVelocity = 4,
  kChangedFlags = 8,
  kChangedCustom = 16  // custom state; of Image only, not on the wire
};

// What watchers see; read by every encode of the cell.
struct Image {
  Steps3 position;      // now
  Steps3 base;          // as last encoded; watchers stand there
  int32_t speed[3];     // wire::CellTrack of each axis, what the packed chain expects
  int32_t pace[3];      // motion between the last anchors that differ, which the layers expect
  int16_t velocity[3];  // wire/quantise.h
  uint8_t yaw;          // 256 steps about y
  uint8_t base_yaw;
  uint8_t changed;         // ChangedField bits since the last encode
  uint8_t changed_anchor;  // ... since the cell's last anchor
  uint8_t changed_half;    // ... since its last layer 1
  EntityKind kind;
  uint32_t flags;    // movement flags of the client
  uint32_t told;     // tick in which the packed chain last told of it
  int8_t offset[3];  // wire::CellTrack

  wire::CellTrack track(int axis) const { return {speed[axis], offset[axis]}; }
  void set_track(int axis, const wire::CellTrack& t) {
    speed[axis] = t.speed;
    offset[axis] = t.offset;
  }
};

inline void mark_changed(Image& image, uint8_t fields) {
  image.changed |= fields;
  image.changed_anchor |= fields;
  image.changed_half |= fields;
}

// As it stood in the images that the frames of layers refer to.
struct LayerBase {
  Steps3 anchor, half;
  uint32_t anchor_flags, half_flags;
  uint8_t anchor_yaw, half_yaw;
};

// Where it is in the grid.
struct Membership {
  uint32_t cell;     // index in the cell table
  uint32_t member;   // index in the member pool
  uint32_t entered;  // the cell's not yet encoded enter event + 1; 0: encoded, watchers know it
  uint32_t since;    // number of the cell's first image that has it
  uint16_t slot;     // the cell's slot, as on the wire
  uint8_t state;     // StateBit
  uint8_t queued;    // inputs that wait for simulate()
};

enum StateBit : uint8_t {
  kActive = 1,         // in the list of entities to look at in the next tick
  kResultPending = 2,  // a MoveResult is owed
  kAcknowledges = 4,   // ... and answers input
  kCorrected = 8,      // ... and says that a move was refused
  kLeaving = 16,       // to be taken out of the world
  kCameWithCell = 64,  // from another slice; its home shard is not told yet
  kOutOfCell = 32,     // is in no cell any more; the notice to the home shard is still due
  kRemote = 128,       // another gateway owns it: takes no input here, is placed as that one says
};

// What input needs.
struct Control {
  ConnectionRef connection;  // invalid while nobody holds it
  ShardId connection_shard;
  uint16_t reason;       // error code of the refused move, 0
  uint32_t client_tick;  // highest applied
  uint32_t budget;       // distance it may go, 1/256 step, as of budget_tick
  uint32_t budget_tick;
  uint32_t simulated_tick;   // last tick a shard has simulated it; not twice in a tick
  uint32_t linger_deadline;  // tick; 0: it does not linger
  uint32_t violations;       // moves the checks refused since it came into the world
  uint32_t stamp;            // of its owner among gateways (realm/batch.h); 0 with one gateway
  uint64_t tag;              // the game's own word, for entities it made
};

class EntityTable {
 public:
  // `custom`: whether entities have custom state; without, it takes no memory.
  explicit EntityTable(uint32_t limit, bool custom = false);

  // New entity with zeroed columns; kNoEntity at the limit. The id must not be here.
  EntitySlot add(EntityId id, std::string_view player_id, EntityKind kind);
  void remove(EntitySlot slot);
  // kNoEntity when it is not here.
  EntitySlot find(EntityId id) const {
    const uint32_t found = slots_.find(id.value);
    return found == FlatMap::kAbsent ? kNoEntity : found;
  }

  // Remembers that `id` left for `to`. The oldest address makes room.
  void forward(EntityId id, ShardId to, uint32_t now_tick);
  // Shard an entity left for within the last 64 ticks, or none.
  ShardId forwarded_to(EntityId id) const;
  // Forgets addresses older than 64 ticks.
  void expire_forwards(uint32_t now_tick);

  Image& image(EntitySlot s) { return images_[s]; }
  LayerBase& layer_base(EntitySlot s) { return layer_bases_[s]; }
  const LayerBase& layer_base(EntitySlot s) const { return layer_bases_[s]; }
  Membership& membership(EntitySlot s) { return memberships_[s]; }
  Control& control(EntitySlot s) { return controls_[s]; }
  const Image& image(EntitySlot s) const { return images_[s]; }
  const Membership& membership(EntitySlot s) const { return memberships_[s]; }
  const Control& control(EntitySlot s) const { return controls_[s]; }
  bool has_custom() const { return customs_.size() != 0; }
  // Only with has_custom().
  Custom& custom(EntitySlot s) { return customs_[s]; }
  const Custom& custom(EntitySlot s) const { return customs_[s]; }
  EntityId id(EntitySlot s) const { return {ids_[s]}; }
  std::string_view player_id(EntitySlot s) const { return names_.view(name_refs_[s]); }

  uint32_t count() const { return count_; }
  uint32_t others() const { return others_; }  // that are no players
  uint32_t limit() const { return limit_; }
  // Slots ever used: for (s = 0; s < high_water(); ++s) if (live(s)) ...
  uint32_t high_water() const { return high_water_; }
  bool live(EntitySlot s) const { return ids_[s] != 0; }

  static constexpr uint32_t kForwardTicks = 64;
  // One entity's share, without its name.
  static constexpr size_t bytes_per_entity();
  size_t bytes() const;

 private:
  struct Departure {
    uint32_t id;
    uint32_t tick;
    uint16_t to;
    uint16_t valid;
  };
  void drop_forward(uint32_t id);

  uint32_t limit_;
  uint32_t count_ = 0;
  uint32_t others_ = 0;
  uint32_t high_water_ = 0;
  uint32_t free_ = UINT32_MAX;      // linked through Membership::member
  mem::MappedArray<uint32_t> ids_;  // 0: free
  mem::MappedArray<NameRef> name_refs_;
  mem::MappedArray<Image> images_;
  mem::MappedArray<LayerBase> layer_bases_;
  mem::MappedArray<Membership> memberships_;
  mem::MappedArray<Control> controls_;
  mem::MappedArray<Custom> customs_;  // empty without custom state
  FlatMap slots_;
  NameSlab names_;
  mem::MappedArray<Departure> departures_;  // ring, oldest first
  FlatMap departed_;                        // id -> index in departures_
  uint32_t departures_first_ = 0;
  uint32_t departures_count_ = 0;
};

constexpr size_t EntityTable::bytes_per_entity() {
  return sizeof(uint32_t) + sizeof(NameRef) + sizeof(Image) + sizeof(LayerBase) +
         sizeof(Membership) + sizeof(Control) + 4 * 8 /* two maps, half full */ + sizeof(Departure);
}
static_assert(EntityTable::bytes_per_entity() <= 232, "part of 1 KiB for a connection in all");

}  // namespace tidegate::world
