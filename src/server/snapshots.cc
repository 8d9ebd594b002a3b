// SPDX-License-Identifier: Apache-2.0
// Snapshots as the composition root sees them: the service, and the world that comes back at start.
#include <algorithm>

#include "base/log.h"
#include "server/agent.h"
#include "server/restore.h"
#include "server/server.h"

namespace tidegate::server {

void Server::set_up_snapshots(const world::WorldConfig& world) {
  control::SnapshotOptions options;
  options.directory = config_.snapshots.directory;
  options.interval = config_.snapshots.interval;
  options.keep = config_.snapshots.keep;
  options.shards = static_cast<uint32_t>(agents_.size());
  options.world = snapshot_world(world);
  options.newest_tick = [this] {
    uint32_t newest = 0;
    for (const auto& agent : agents_) newest = std::max(newest, agent->shard->current_tick());
    return newest;
  };
  options.wake_control = [this] { control_waker_->wake(); };
  snapshots_ = std::make_unique<control::SnapshotService>(std::move(options), *control_counters_);
  control_->set_snapshots(snapshots_.get());
  if (inheritance_ == nullptr) restore_world(world);  // else it comes from the process before
}

void Server::restore_world(const world::WorldConfig& world) {
  const std::optional<control::Snapshot> snapshot = snapshots_->recover_blocking();
  if (!snapshot) return;
  const RestorePlan plan = plan_restore(*snapshot, world);
  for (const Restored& player : plan.players) {
    shard::Shard& home = *agents_[world::home_of(player.name, world.shard_count).value]->shard;
    home.restore_place(player.name, player.position, player.yaw);
  }
  const world::WorldScale scale(world);
  size_t lost = 0;
  for (const Restored& r : plan.others) {
    shard::Shard& owner = *agents_[scale.owner_of_position(r.position).value]->shard;
    if (!owner.restore_entity(r.kind, r.name, r.position, r.yaw, r.flags, r.tag)) ++lost;
  }
  std::string line = "snapshots: the world of tick " + std::to_string(snapshot->header.tick) +
                     " came back from " + snapshots_->recovered_name() + ": " +
                     std::to_string(plan.players.size()) + " players, " +
                     std::to_string(plan.others.size() - lost) + " other entities";
  if (lost != 0) line += " (" + std::to_string(lost) + " more are above the limits)";
  if (!plan.notes.empty()) line += "; " + plan.notes;
  log(plan.notes.empty() && lost == 0 ? base::LogLevel::kInfo : base::LogLevel::kWarn, line);
}

}  // namespace tidegate::server
