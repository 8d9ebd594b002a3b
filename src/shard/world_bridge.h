// SPDX-License-Identifier: Apache-2.0
// Between an embedder's hooks and a shard's slice of the world: it shows entities in metres and
// radians, calls what is registered, and is the World of the tick hook. With nothing registered it
// is asked nothing.
//
// Thread: shard. Owner: Shard. Limits: one mark for each entity.
#pragma once

#include "base/time.h"
#include "mem/mapped_array.h"
#include "metrics/metrics.h"
#include "shard/hook_table.h"
#include "world/world_slice.h"

namespace tidegate::shard {

class States;

// What the bridge needs of its shard.
class BridgeHost {
 public:
  virtual base::Instant now() = 0;
  virtual base::EntityId make_entity_id() = 0;
  // Of the owner of a new entity, among gateways.
  virtual uint32_t make_stamp() = 0;
  // Whether this gateway is the one that makes NPCs and objects there.
  virtual bool owns_place(const world::Steps3& position) = 0;
  // The connection that holds an entity is to be closed with 1008; `code` says why.
  virtual void close_player(base::ShardId shard, base::ConnectionRef connection, uint16_t code) = 0;
  virtual States& states() = 0;

 protected:
  ~BridgeHost() = default;
};

struct BridgeConfig {
  const HookTable* hooks = nullptr;
  uint32_t shard = 0;
  uint32_t shard_count = 1;
  float position_step = 0.02F;
  float seconds_per_tick = 1.0F / 60;
  base::Duration hook_budget = base::milliseconds(1);  // longer is counted
  base::Duration tick_budget = base::milliseconds(2);  // likewise, of the tick hook
};

class WorldBridge final : public world::SliceHooks, public tidegate::World {
 public:
  WorldBridge(const BridgeConfig& config, world::WorldSlice& slice, BridgeHost& host,
              metrics::Counters& counters);

  bool wants_tick() const { return config_.hooks != nullptr && config_.hooks->tick != nullptr; }
  bool wants_state() const { return marks_.size() != 0; }
  // The hook of a tick that begins.
  void run_tick(uint32_t tick);
  // Asks the providers for all marked entities.
  void run_providers();
  // kForward: the entity lives there now.
  world::Queued mark(base::EntityId id);
  size_t bytes() const { return marks_.bytes(); }
  void set_budgets(base::Duration hook, base::Duration tick) {
    config_.hook_budget = hook;
    config_.tick_budget = tick;
  }

  // world::SliceHooks
  uint16_t before_input(world::EntitySlot s, world::Input* input) override;
  world::Verdict on_violation(world::EntitySlot s, const world::Input& input,
                              uint16_t reason) override;
  void changed(world::EntitySlot s, uint8_t fields) override;

  // tidegate::World
  uint32_t shard() const noexcept override { return config_.shard; }
  uint32_t shard_count() const noexcept override { return config_.shard_count; }
  uint32_t tick() const noexcept override { return tick_; }
  float seconds_per_tick() const noexcept override { return config_.seconds_per_tick; }
  bool owns(Position position) const noexcept override;
  WorldResult spawn(const SpawnRequest& request, EntityRef* out) noexcept override;
  WorldResult move(EntityRef entity, const Move& to) noexcept override;
  WorldResult despawn(EntityRef entity) noexcept override;
  WorldResult set_custom(EntityRef entity, Bytes bytes) noexcept override;
  WorldResult mark_state(EntityRef entity) noexcept override;
  bool next(uint32_t* cursor, EntityView* out) const noexcept override;
  bool find(EntityRef entity, EntityView* out) const noexcept override;
  SendResult set_state(const StateSpec& spec) noexcept override;
  SendResult remove_state(StateScope scope, std::string_view key,
                          std::string_view player) noexcept override;

 private:
  EntityView view(world::EntitySlot s) const;
  Position metres(const world::Steps3& p) const;
  world::Steps3 steps(const Position& p) const;
  world::EntitySlot slot_of(EntityRef entity) const;
  // Whether it is here and another gateway's: not ours to change.
  bool remote(EntityRef entity) const;
  void serialise(world::EntitySlot s);
  // Calls a hook with the clock held beside it; `otherwise` when it threw.
  template <class T, class Call>
  T timed(T otherwise, Call&& call);

  BridgeConfig config_;
  world::WorldSlice& slice_;
  BridgeHost& host_;
  metrics::Counters& counters_;
  uint32_t tick_ = 0;
  mem::MappedArray<uint32_t> marks_;  // entities to serialise; empty without providers
  uint32_t mark_count_ = 0;
};

}  // namespace tidegate::shard
