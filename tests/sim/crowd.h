// SPDX-License-Identifier: Apache-2.0
// NPCs as a game makes them, from a tick hook on every shard. Where each stands follows from its
// number and the tick alone, so that worlds of different numbers of shards agree.
// Thread: one. Owner: Simulation. Limits: Plan::npcs.
#pragma once

#include <cmath>
#include <string>

#include "shard/hook_table.h"
#include "simulation.h"

namespace tidegate::sim {

class Crowd {
 public:
  explicit Crowd(const Plan& plan)
      : plan_(plan), last_tick_(static_cast<uint32_t>(plan.seconds * 60)) {
    if (plan.npcs == 0) return;
    hooks_.user = this;
    hooks_.tick = [](void* user, World& world) noexcept {
      static_cast<Crowd*>(user)->drive(world);
      return shard::Guarded<bool>{true, false};
    };
  }
  const shard::HookTable* hooks() const { return &hooks_; }
  void end() { ended_ = true; }
  uint64_t refused() const { return refused_; }

 private:
  static constexpr uint32_t kFirstTick = 30;

  Position place(uint32_t number, uint32_t tick) const {
    const float angle = static_cast<float>(number) + static_cast<float>(tick) * 0.01F;
    const float radius = plan_.area * (0.1F + 0.015F * static_cast<float>(number));
    return {radius * std::cos(angle), 0, radius * std::sin(angle)};
  }
  void drive(World& world) {
    const uint32_t tick = world.tick();
    if (tick == kFirstTick) {
      for (uint32_t i = 0; i < plan_.npcs; ++i) {
        const std::string name = "npc" + std::to_string(i);
        SpawnRequest request;
        request.id = name;
        request.position = place(i, tick);
        request.tag = i;
        if (!world.owns(request.position)) continue;
        refused_ += world.spawn(request) != WorldResult::kOk;
      }
    }
    if (tick > last_tick_ && !ended_) return;
    EntityView entity;
    for (uint32_t at = 0; world.next(&at, &entity);) {
      if (entity.kind != Kind::kNpc) continue;
      if (ended_) {
        world.despawn(entity.ref);
        continue;
      }
      Move to;
      to.position = place(static_cast<uint32_t>(entity.tag), tick);
      to.has_position = true;
      to.flags = tick / 16;
      to.has_flags = true;
      refused_ += world.move(entity.ref, to) != WorldResult::kOk;
      refused_ += world.set_custom(entity.ref, {&tick, sizeof tick}) != WorldResult::kOk;
    }
  }

  const Plan& plan_;
  const uint32_t last_tick_;
  shard::HookTable hooks_;
  bool ended_ = false;
  uint64_t refused_ = 0;
};

}  // namespace tidegate::sim
