// SPDX-License-Identifier: Apache-2.0
#include "server/restore.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <unordered_map>

namespace tidegate::server {
namespace {

std::string metres(float v) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", static_cast<double>(v));
  return text;
}

void note(RestorePlan* plan, const std::string& text) {
  if (!plan->notes.empty()) plan->notes += "; ";
  plan->notes += text;
}

}  // namespace

control::SnapshotWorld snapshot_world(const world::WorldConfig& config) {
  control::SnapshotWorld w;
  w.tick_rate = config.tick_rate;
  w.position_step = config.position_step;
  w.cell_size = config.cell_size;
  for (int i = 0; i < 3; ++i) {
    w.bounds_min[i] = config.bounds_min[i];
    w.bounds_max[i] = config.bounds_max[i];
  }
  w.zone = config.zone_id;
  return w;
}

RestorePlan plan_restore(const control::Snapshot& snapshot, const world::WorldConfig& config) {
  RestorePlan plan;
  const control::SnapshotWorld& then = snapshot.world;
  const world::WorldScale scale(config);
  const bool convert = then.position_step != config.position_step;
  if (convert) {
    note(&plan, "the position step was " + metres(then.position_step) + " m and is " +
                    metres(config.position_step) + " m: positions were converted in metres");
  }
  if (then.cell_size != config.cell_size) {
    note(&plan, "cells were " + metres(then.cell_size) + " m and are " + metres(config.cell_size) +
                    " m: no position depends on it");
  }
  struct Seen {
    Restored what;
    uint32_t age_seconds;  // 0 for entities
    bool entity;
  };
  std::vector<Seen> players;
  std::unordered_map<std::string_view, size_t> by_name;
  for (const control::SnapshotRow& row : snapshot.rows) {
    if (row.name.empty() || row.name.size() > world::kPlayerIdBytesMax ||
        row.record.kind > static_cast<uint8_t>(world::EntityKind::kObject)) {
      ++plan.skipped;
      continue;
    }
    Restored r;
    r.name = row.name;
    r.kind = static_cast<world::EntityKind>(row.record.kind);
    r.yaw = row.record.yaw;
    const bool entity = row.record.source == mailbox::kSnapshotEntity;
    if (entity) r.flags = row.record.flags;
    if (row.extra.size() == sizeof r.tag) std::memcpy(&r.tag, row.extra.data(), sizeof r.tag);
    for (size_t i = 0; i < 3; ++i) {
      const int32_t steps = row.record.position[i];
      r.position[i] =
          convert
              ? world::to_steps(static_cast<float>(steps * static_cast<double>(then.position_step)),
                                config.position_step)
              : steps;
    }
    const world::Steps3 inside = scale.clamp(r.position);
    if (inside != r.position) ++plan.moved_inside;
    r.position = inside;
    if (r.kind != world::EntityKind::kPlayer) {
      plan.others.push_back(r);
      continue;
    }
    const Seen seen{r, entity ? 0 : row.record.flags, entity};
    const auto [it, is_new] = by_name.emplace(r.name, players.size());
    if (is_new) {
      players.push_back(seen);
    } else if (entity) {
      players[it->second] = seen;  // where it stood in the world is newer than where it once left
    }
  }
  if (plan.moved_inside != 0) {
    note(&plan, std::to_string(plan.moved_inside) +
                    " positions lie outside today's bounds and were moved to the nearest inside");
  }
  if (plan.skipped != 0) {
    note(&plan, std::to_string(plan.skipped) + " records have no name or a kind not known here");
  }
  std::stable_sort(players.begin(), players.end(), [](const Seen& a, const Seen& b) {
    return a.entity != b.entity ? b.entity : a.age_seconds > b.age_seconds;
  });
  for (const Seen& seen : players) plan.players.push_back(seen.what);
  return plan;
}

}  // namespace tidegate::server
