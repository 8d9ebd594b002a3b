// SPDX-License-Identifier: Apache-2.0
#include "world/world_config.h"

#include <algorithm>
#include <cmath>

#include "world/interest.h"

namespace tidegate::world {

const char* describe(ConfigStatus status) {
  switch (status) {
    case ConfigStatus::kOk:
      return "ok";
    case ConfigStatus::kTickRate:
      return "tick_rate must be within 1 and 240";
    case ConfigStatus::kCellSize:
      return "cell_size must be 100 to 4096 whole position steps";
    case ConfigStatus::kViewDistance:
      return "view_distance must be positive and at most 3.2 cells";
    case ConfigStatus::kRates:
      return "rate distances must rise from full over half to quarter rate";
    case ConfigStatus::kBounds:
      return "bounds are empty or too far for 16-bit cell coordinates";
    case ConfigStatus::kSpeed:
      return "max_speed, speed_tolerance and steer_speed must be positive";
    case ConfigStatus::kSpawn:
      return "spawn lies outside the bounds or spawn_radius is negative";
    case ConfigStatus::kLimits:
      return "entities, cells or shard count is zero or too large";
  }
  return "?";
}

ConfigStatus WorldConfig::check() const {
  if (tick_rate < 1 || tick_rate > 240) return ConfigStatus::kTickRate;
  // Negated comparisons, so that a NaN is refused too.
  if (!(position_step > 0.0F)) return ConfigStatus::kCellSize;
  const double steps = static_cast<double>(cell_size) / static_cast<double>(position_step);
  if (!(steps >= 100.0 - 1e-3 && steps <= 4096.0 + 1e-3) ||
      std::fabs(steps - std::round(steps)) > 1e-2) {
    return ConfigStatus::kCellSize;
  }
  if (!(view_distance > 0.0F && view_distance <= kViewCellsMax * cell_size)) {
    return ConfigStatus::kViewDistance;
  }
  if (!(full_rate_distance >= 0.0F && full_rate_distance <= half_rate_distance &&
        half_rate_distance <= quarter_rate_distance && quarter_rate_distance <= 1e6F)) {
    return ConfigStatus::kRates;
  }
  if (!(max_speed > 0.0F && max_speed <= 10'000.0F && speed_tolerance >= 1.0F &&
        speed_tolerance <= 100.0F && steer_speed > 0.0F && steer_delay_ms <= 2000)) {
    return ConfigStatus::kSpeed;
  }
  for (int i = 0; i < 3; ++i) {
    // One cell is kept free at either end, so that neighbours always have a key.
    const float far = 32'766.0F * cell_size;
    if (!(bounds_min[i] < bounds_max[i] && bounds_min[i] >= -far && bounds_max[i] <= far)) {
      return ConfigStatus::kBounds;
    }
    if (!(spawn[i] >= bounds_min[i] && spawn[i] <= bounds_max[i])) return ConfigStatus::kSpawn;
  }
  if (!(spawn_radius >= 0.0F)) return ConfigStatus::kSpawn;
  if (entities == 0 || entities > 16'000'000 || cells == 0 || cells > 4'000'000 ||
      shard_count == 0 || shard_count > kShardsMax) {
    return ConfigStatus::kLimits;
  }
  return ConfigStatus::kOk;
}

int32_t to_steps(float metres, float step) {
  const double steps = std::nearbyint(static_cast<double>(metres) / static_cast<double>(step));
  if (steps >= 2'147'483'647.0) return INT32_MAX;
  if (steps <= -2'147'483'648.0) return INT32_MIN;
  return static_cast<int32_t>(steps);
}

WorldScale::WorldScale(const WorldConfig& config)
    : cell_steps(to_steps(config.cell_size, config.position_step)),
      metres_per_step(config.position_step),
      shard_count(config.shard_count) {
  TG_ASSERT(config.check() == ConfigStatus::kOk);
  for (int i = 0; i < 3; ++i) {
    bounds_min[i] = to_steps(config.bounds_min[i], config.position_step);
    bounds_max[i] = to_steps(config.bounds_max[i], config.position_step);
  }
  // 1/256 step: at 12 m/s and 60 Hz a tick is worth 10 steps, a whole unit would lose 5 %.
  const double per_second = static_cast<double>(config.max_speed) *
                            static_cast<double>(config.speed_tolerance) /
                            static_cast<double>(config.position_step) * 256.0;
  budget_per_tick = static_cast<uint32_t>(std::ceil(per_second / config.tick_rate));
  budget_max = static_cast<uint32_t>(std::ceil(per_second / 2.0));
  if (budget_max < budget_per_tick) budget_max = budget_per_tick;
  const double steered = static_cast<double>(std::min(config.steer_speed, config.max_speed)) /
                         static_cast<double>(config.position_step) * 256.0 / config.tick_rate;
  steer_speed = static_cast<uint32_t>(std::min(65'535.0, std::nearbyint(steered)));
  steer_metres = static_cast<float>(steer_speed * static_cast<double>(config.position_step) *
                                    config.tick_rate / 256.0);
  steer_delay_ticks = (config.steer_delay_ms * config.tick_rate + 999) / 1000;
  linger_ticks = static_cast<uint32_t>(
      (static_cast<uint64_t>(config.linger_ms) * config.tick_rate + 999) / 1000);
}

Steps3 WorldScale::clamp(const Steps3& p) const {
  Steps3 out;
  for (int i = 0; i < 3; ++i) {
    out[i] = p[i] < bounds_min[i] ? bounds_min[i] : p[i] > bounds_max[i] ? bounds_max[i] : p[i];
  }
  return out;
}

}  // namespace tidegate::world
