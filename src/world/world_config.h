// SPDX-License-Identifier: Apache-2.0
// What is configurable about the world, and the same in the integer units the world runs on:
// positions in steps (2 cm), times in ticks. Every shard of a process gets the same values.
// Thread: setup. Owner: values. Limits: checked by check().
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "world/budget.h"
#include "world/cell_key.h"

namespace tidegate::world {

inline constexpr uint32_t kShardsMax = 64;  // readers of a cell are a 64-bit mask
inline constexpr uint32_t kPlayerIdBytesMax = 64;

using Steps3 = std::array<int32_t, 3>;  // absolute position in steps: x, y (up), z

enum class ConfigStatus : uint8_t {
  kOk = 0,
  kTickRate,      // tick_rate not within 1..240
  kCellSize,      // not a whole number of steps within 100..4096, or not a power-of-step multiple
  kViewDistance,  // would need more than kActiveCellsMax cells
  kRates,         // not 0 <= full <= half <= quarter rate distance
  kBounds,        // empty, or a cell coordinate does not fit 16 bits
  kSpeed,         // max_speed or tolerance not positive
  kSpawn,         // spawn outside the bounds
  kLimits,        // entities, cells or shard_count is 0 or too large
};
const char* describe(ConfigStatus status);

struct WorldConfig {
  uint32_t tick_rate = 60;       // ticks a second
  float cell_size = 64.0F;       // metres, edge of a cell
  float position_step = 0.02F;   // metres
  float view_distance = 100.0F;  // metres, the largest a client can ask for
  // Cells as near as that are sent at the full, half and quarter tick rate, others at an eighth.
  float full_rate_distance = 24.0F;      // metres
  float half_rate_distance = 40.0F;      // metres
  float quarter_rate_distance = 100.0F;  // metres
  // With more entities in view than that, far cells are left off, down to that distance. 0: never.
  uint32_t crowd_entities = 0;
  float crowd_view_distance = 16.0F;  // metres
  float max_speed = 12.0F;            // metres a second
  float speed_tolerance = 1.15F;      // factor on max_speed: clocks drift, inputs bunch
  float steer_speed = 5.0F;           // metres a second of PLAYER_STEER; at most max_speed counts
  uint32_t steer_delay_ms = 350;      // samples wait so long at most for even movement
  float bounds_min[3] = {-2048.0F, -512.0F, -2048.0F};  // metres
  float bounds_max[3] = {2048.0F, 512.0F, 2048.0F};     // metres
  float spawn[3] = {0.0F, 0.0F, 0.0F};                  // metres
  float spawn_radius = 0.0F;                            // metres
  bool adaptive = true;                                 // rates are lowered under load
  BudgetConfig budget;                                  // of each watcher
  uint32_t linger_ms = 10'000;  // an entity stays so long without a connection
  uint32_t entities = 10'000;   // limit of each shard: all may gather on one
  uint32_t npcs = UINT32_MAX;   // of them at most so many that are no players
  uint32_t cells = 8'192;       // limit of each shard: cells owned that have members or readers
  uint32_t shard_count = 1;     // 1..kShardsMax
  uint32_t moved_cells = 0;     // cells that may belong to another shard than the rule says
  bool custom_state = false;    // whether entities carry bytes of the game's own
  uint32_t history_ticks = 0;   // past states kept of each entity; 0: none
  std::string_view zone_id = "main";  // outlives the world

  ConfigStatus check() const;
};

// The configuration in the world's own units.
struct WorldScale {
  explicit WorldScale(const WorldConfig& config);

  int32_t cell_steps;             // edge of a cell
  Steps3 bounds_min, bounds_max;  // both inclusive
  uint32_t budget_per_tick;       // distance, 1/256 step
  uint32_t budget_max;            // half a second of it
  uint32_t linger_ticks;
  uint32_t steer_speed;        // 1/256 step a tick, see wire/steer.h
  float steer_metres;          // the same in metres a second
  uint32_t steer_delay_ticks;  // deepest that a player's samples wait
  float metres_per_step;
  uint32_t shard_count;

  CellKey cell_of(const Steps3& p) const {
    return {static_cast<int16_t>(floor_div(p[0])), static_cast<int16_t>(floor_div(p[2]))};
  }
  base::ShardId owner_of_position(const Steps3& p) const {
    return owner_of(cell_of(p), shard_count);
  }
  bool in_bounds(const Steps3& p) const {
    for (int i = 0; i < 3; ++i) {
      if (p[i] < bounds_min[i] || p[i] > bounds_max[i]) return false;
    }
    return true;
  }
  // Nearest position inside the bounds.
  Steps3 clamp(const Steps3& p) const;

 private:
  int32_t floor_div(int32_t v) const {
    return v >= 0 ? v / cell_steps : -((-v + cell_steps - 1) / cell_steps);
  }
};

// Metres to steps, rounded to nearest; the caller has checked that it is finite. Saturates.
int32_t to_steps(float metres, float step);

}  // namespace tidegate::world
