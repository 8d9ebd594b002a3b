// SPDX-License-Identifier: Apache-2.0
// Snapshots of the world as the shard sees them: the request, the cut, and what comes back at
// start.
#include "shard/shard.h"

namespace tidegate::shard {

void Shard::on_snapshot_at(base::Bytes bytes) {
  const auto request = mailbox::read_message<mailbox::SnapshotAt>(bytes);
  // run_encode() is where the cut is made; behind it the tick's boundary has passed.
  snapshot_.ask(request.tick, barrier_.tick(),
                barrier_.phase() == TickBarrier::Phase::kEncoded
                    ? SnapshotCapture::Boundary::kPassed
                    : SnapshotCapture::Boundary::kAhead);
}

void Shard::cut_snapshot() {
  const base::Instant started = io_.now();
  snapshot_.cut(barrier_.tick(), slice_.entities(), &slice_);
  counters_.record(metrics::Timing::kSnapshotCut, io_.now() - started);
}

void Shard::restore_place(std::string_view player, const world::Steps3& position, uint8_t yaw) {
  world::DirectoryEntry* entry = directory_.insert(player, 0);
  if (entry == nullptr) return;  // no name that could come back
  entry->has_position = 1;
  entry->position = slice_.scale().clamp(position);
  entry->yaw = yaw;
  directory_.update(entry, 0);
}

bool Shard::restore_entity(world::EntityKind kind, std::string_view name,
                           const world::Steps3& position, uint8_t yaw, uint32_t flags,
                           uint64_t tag) {
  world::SpawnSpec spec;
  spec.player_id = name;
  spec.kind = kind;
  spec.position = position;
  spec.yaw = yaw;
  spec.flags = flags;
  spec.tag = tag;
  spec.stamp = make_stamp();
  const base::EntityId id = new_entity_id();
  if (slice_.spawn(id, spec, barrier_.tick()) != world::SpawnStatus::kOk) return false;
  bridge_.mark(id);
  return true;
}

}  // namespace tidegate::shard
