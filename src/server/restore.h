// SPDX-License-Identifier: Apache-2.0
// What a snapshot means for the world as it is configured now: positions in its own steps, inside
// its bounds, one record for each player. Pure; the server hands the result to its shards.
// Thread: setup. Owner: values; names are borrowed from the snapshot. Limits: none of its own.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "control/snapshot_file.h"
#include "world/entity_table.h"
#include "world/world_config.h"

namespace tidegate::server {

struct Restored {
  std::string_view name;
  world::EntityKind kind = world::EntityKind::kPlayer;
  world::Steps3 position{};
  uint32_t flags = 0;
  uint64_t tag = 0;
  uint8_t yaw = 0;
};

struct RestorePlan {
  // Players by the time they were last seen, the longest absent first, so that the directory keeps
  // the latest when it has no room for all; those that were in the world come last.
  std::vector<Restored> players;
  std::vector<Restored> others;  // NPCs and objects
  uint32_t skipped = 0;          // records without a usable name, or of kinds not known here
  uint32_t moved_inside = 0;     // positions that the bounds of today do not hold
  std::string notes;             // what differs between then and now; empty: nothing
};

// The part of the configuration that a snapshot carries.
control::SnapshotWorld snapshot_world(const world::WorldConfig& config);

RestorePlan plan_restore(const control::Snapshot& snapshot, const world::WorldConfig& config);

}  // namespace tidegate::server
