// SPDX-License-Identifier: Apache-2.0
// The home shard of a player decides what a login means: a new entity, the one that lingers, or the
// one another connection holds (that connection is replaced, 4015). Messages about one player reach
// its home in the order in which each sender saw things; what crosses is resolved here:
// an entity that is gone when the attach arrives comes back as SpawnFailed behind its Gone, and the
// login is then served from the position that Gone brought.
#include "shard/shard.h"

namespace tidegate::shard {

using mailbox::read_message;
using world::DirectoryEntry;

base::EntityId Shard::new_entity_id() {
  if (realm_.on()) {
    base::EntityId id;
    do {
      id = realm_.make_id(++entity_counter_);
    } while (slice_.entities().find(id) != world::kNoEntity || id.value == 0);
    return id;
  }
  // 0 is never used; the counter wraps after 16 million entities of one shard.
  entity_counter_ = (entity_counter_ + 1) & 0xffffff;
  if (entity_counter_ == 0) entity_counter_ = 1;
  return {config_.index << 24 | entity_counter_};
}

// From the player's name and the seed, so that it does not depend on who came first or on the
// number of shards.
world::Steps3 Shard::spawn_position(std::string_view player) const {
  base::Prng prng(config_.seed ^ world::hash_player_id(player));
  const world::WorldConfig& w = config_.world;
  float p[3] = {w.spawn[0], w.spawn[1], w.spawn[2]};
  if (w.spawn_radius > 0) {
    // Uniform over the square that holds the circle, until inside: at most a few draws.
    float dx = 0;
    float dz = 0;
    do {
      dx = static_cast<float>(prng.unit() * 2 - 1);
      dz = static_cast<float>(prng.unit() * 2 - 1);
    } while (dx * dx + dz * dz > 1);
    p[0] += dx * w.spawn_radius;
    p[2] += dz * w.spawn_radius;
  }
  world::Steps3 steps;
  for (int i = 0; i < 3; ++i) steps[i] = world::to_steps(p[i], w.position_step);
  return slice_.scale().clamp(steps);
}

void Shard::send_spawn(std::string_view player, DirectoryEntry& entry) {
  mailbox::Spawn spawn{};
  spawn.connection = entry.connection;
  spawn.connection_shard = entry.connection_shard.value;
  spawn.stamp = entry.stamp;
  if (entry.entity.valid()) {
    spawn.entity = entry.entity;
    spawn.attach = 1;
  } else {
    entry.entity = new_entity_id();
    const world::Steps3 at = entry.has_position ? entry.position : spawn_position(player);
    entry.entity_shard = slice_.owner_of_position(at);
    spawn.entity = entry.entity;
    for (int i = 0; i < 3; ++i) spawn.position[i] = at[i];
    if (entry.has_position) spawn.yaw = entry.yaw;
  }
  outbox_.post(entry.entity_shard.value, spawn, base::as_bytes(player));
}

void Shard::on_login(mailbox::AgentId from, base::Bytes bytes) {
  base::Bytes tail;
  const auto login = read_message<mailbox::Login>(bytes, &tail);
  const std::string_view player = base::as_text(tail);
  const uint32_t tick = barrier_.tick();
  DirectoryEntry* entry = directory_.insert(player, tick);
  if (entry == nullptr) {
    outbox_.post(from, mailbox::WorldFull{login.connection});
    return;
  }
  if (entry->connection.valid()) {
    outbox_.post(entry->connection_shard.value, mailbox::Replaced{entry->connection});
  }
  entry->connection = login.connection;
  entry->connection_shard = {static_cast<uint16_t>(from)};
  // With a store that gateways share the session's end closes the connection elsewhere.
  if (!config_.session.shared)
    send_far(mailbox::BusOp::kLoggedIn, 0, player, {}, static_cast<uint64_t>(login.since_ms));
  states_.on_login(player, from, login.connection);
  if (!realm_.hold_login(player, *entry)) send_spawn(player, *entry);
  directory_.update(entry, tick);
}

void Shard::on_logout(mailbox::AgentId from, base::Bytes bytes) {
  base::Bytes tail;
  const auto logout = read_message<mailbox::Logout>(bytes, &tail);
  DirectoryEntry* entry = directory_.find(base::as_text(tail));
  if (entry == nullptr || entry->connection != logout.connection ||
      entry->connection_shard.value != from) {
    return;  // a newer connection holds the player
  }
  states_.on_logout(base::as_text(tail), from, logout.connection);
  entry->connection = {};
  directory_.update(entry, barrier_.tick());
}

void Shard::on_spawn_failed(base::Bytes bytes) {
  base::Bytes tail;
  const auto failed = read_message<mailbox::SpawnFailed>(bytes, &tail);
  const std::string_view player = base::as_text(tail);
  DirectoryEntry* entry = directory_.find(player);
  if (entry == nullptr) return;
  if (failed.full) {
    if (entry->entity == failed.entity) entry->entity = {};
    outbox_.post(failed.connection_shard, mailbox::WorldFull{failed.connection});
    if (entry->connection == failed.connection) entry->connection = {};
  } else if (entry->connection == failed.connection &&
             entry->connection_shard.value == failed.connection_shard) {
    if (entry->entity == failed.entity) {
      // It is alive but not where we thought (its TransferNotice is on the way), or its Gone has
      // not come yet. The owner forwards what it remembers, so this is the rest: make it anew.
      entry->entity = {};
    }
    send_spawn(player, *entry);
  }
  directory_.update(entry, barrier_.tick());
}

void Shard::on_gone(base::Bytes bytes) {
  base::Bytes tail;
  const auto gone = read_message<mailbox::Gone>(bytes, &tail);
  DirectoryEntry* entry = directory_.find(base::as_text(tail));
  if (entry == nullptr || entry->entity != gone.entity) return;
  if (entry->remote != 0) realm_.on_gone(gone.entity);
  entry->entity = {};
  entry->remote = 0;
  entry->has_position = 1;
  entry->yaw = static_cast<uint8_t>(gone.yaw);
  for (int i = 0; i < 3; ++i) entry->position[i] = gone.position[i];
  directory_.update(entry, barrier_.tick());
}

void Shard::on_transfer_notice(mailbox::AgentId from, base::Bytes bytes) {
  base::Bytes tail;
  const auto notice = read_message<mailbox::TransferNotice>(bytes, &tail);
  realm_.on_moved_to(notice.entity, {static_cast<uint16_t>(from)});
  DirectoryEntry* entry = directory_.find(base::as_text(tail));
  if (entry == nullptr || entry->entity != notice.entity) return;
  entry->entity_shard = {static_cast<uint16_t>(from)};
  directory_.update(entry, barrier_.tick());
}

// The owner's side: makes the entity or gives it its new connection.
void Shard::on_spawn(base::Bytes bytes) {
  base::Bytes tail;
  const auto spawn = read_message<mailbox::Spawn>(bytes, &tail);
  const std::string_view player = base::as_text(tail);
  const base::ShardId connection_shard{spawn.connection_shard};
  mailbox::SpawnFailed failed{};
  failed.entity = spawn.entity;
  failed.connection = spawn.connection;
  failed.connection_shard = spawn.connection_shard;
  const mailbox::AgentId home = world::home_of(player, config_.count).value;
  if (spawn.attach) {
    const world::Queued queued =
        slice_.attach(spawn.entity, connection_shard, spawn.connection, spawn.stamp);
    if (queued.status == world::QueueStatus::kForward) {
      outbox_.post(queued.to.value, spawn, tail);
    } else if (queued.status != world::QueueStatus::kOk) {
      outbox_.post(home, failed, tail);
    } else if (spawn.placed != 0) {
      realm_.place_taken(spawn);
    }
    // The slice reports the attached entity with its next move result (on_moved).
    return;
  }
  world::SpawnSpec spec;
  spec.player_id = player;
  spec.position = {spawn.position[0], spawn.position[1], spawn.position[2]};
  spec.yaw = spawn.yaw;
  spec.connection_shard = connection_shard;
  spec.connection = spawn.connection;
  spec.stamp = spawn.stamp;
  const world::SpawnStatus status = slice_.spawn(spawn.entity, spec, barrier_.tick());
  const base::ShardId owner = slice_.owner_of_position(spec.position);
  if (status == world::SpawnStatus::kNotOwner && owner.value != config_.index) {
    // The place went to another shard while the order was on its way. An attach that the home sends
    // here before it knows is forwarded.
    slice_.forward(spawn.entity, owner, barrier_.tick());
    mailbox::Spawn passed = spawn;
    passed.passed_on = 1;
    outbox_.post(owner.value, passed, tail);
  } else if (status != world::SpawnStatus::kOk) {
    failed.full = status == world::SpawnStatus::kFull ? 1 : 0;
    outbox_.post(home, failed, tail);
  } else {
    if (spawn.passed_on != 0) outbox_.post(home, mailbox::TransferNotice{spawn.entity}, tail);
    if (bridge_.wants_state()) bridge_.mark(spawn.entity);
  }
}

}  // namespace tidegate::shard
