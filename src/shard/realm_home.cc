// SPDX-License-Identifier: Apache-2.0
// The home of names: whose word about an entity counts, and who owns a player that comes in. A
// claim asks the owner to let go; it does so at once and for good, and says where the entity
// stands. An owner that does not answer in time is overruled by the newer stamp.
#include <bit>
#include <cstring>

#include "shard/realm.h"
#include "shard/shard.h"

namespace tidegate::shard {

using mailbox::BusMail;
using mailbox::BusOp;
using mailbox::RealmOp;
using mailbox::RealmOrder;
using metrics::Counter;
using realm::Record;
using realm::RecordType;
using realm::Remote;
using world::DirectoryEntry;

namespace {

constexpr uint32_t kClaimHopsMax = 6;

RealmOrder order_of(RealmOp op, const Remote& remote) {
  RealmOrder order{};
  order.op = op;
  order.entity = remote.id;
  order.stamp = remote.stamp;
  order.kind = static_cast<uint8_t>(remote.kind);
  return order;
}

void put_state(const realm::State& state, RealmOrder* order) {
  for (size_t i = 0; i < 3; ++i) order->position[i] = state.position[i];
  std::memcpy(order->velocity, state.velocity, sizeof order->velocity);
  order->yaw = state.yaw;
  order->flags = state.flags;
}

}  // namespace

void Realm::post(uint32_t shard, const RealmOrder& order, base::Bytes tail) {
  if (order.op == RealmOp::kMove || order.op == RealmOp::kCustom) {
    if (shard == shard_.config_.index && order.op == RealmOp::kMove) {
      queue_move(order, false);
    } else if (!shard_.mailbox_.post(shard, order, tail)) {
      count(Counter::kRealmDropped);  // said again with the next refresh
    }
    return;
  }
  shard_.outbox_.post(shard, order, tail);
}

// --- what other gateways say ---

void Realm::on_record(const Record& record, uint32_t gateway, const realm::Head& head) {
  Remote* r = nullptr;
  switch (remotes_.judge(record, gateway, head.tick, shard_.now_, &r)) {
    case realm::Remotes::Verdict::kUnknown:
      if (record.type == RecordType::kWhole && home_is_here(record.name)) {
        add(record, gateway, head);
      }
      return;
    case realm::Remotes::Verdict::kStale:
      return;
    case realm::Remotes::Verdict::kTaken:
    case realm::Remotes::Verdict::kGood:
      break;
  }
  count(Counter::kRealmStatesReceived);
  if (record.type == RecordType::kGone) {
    forget_player(*r);
    remove(*r);
    return;
  }
  move(*r, record, head.unix_ms);
}

void Realm::move(Remote& remote, const Record& record, int64_t sent_ms) {
  RealmOrder order = order_of(RealmOp::kMove, remote);
  put_state(record.state, &order);
  order.sent_ms = sent_ms;
  remote.position = record.state.position;
  remote.yaw = record.state.yaw;
  post(remote.shard, order);
  if (record.type != RecordType::kWhole) return;
  if (remote.kind == world::EntityKind::kPlayer) {
    if (DirectoryEntry* entry = shard_.directory_.find(record.name);
        entry != nullptr && entry->entity == remote.id && entry->remote != 0) {
      if (realm::newer(record.stamp, entry->stamp)) entry->stamp = record.stamp;
      remote.home = shard_.directory_.index_of(entry);
    }
  }
  if (!record.custom.empty() && shard_.slice_.entities().has_custom()) {
    order.op = RealmOp::kCustom;
    post(remote.shard, order, record.custom);
  }
}

// The player had another entity, or is our own. False: the record is the older word.
bool Realm::make_room_for(const Record& record, DirectoryEntry& entry, uint32_t gateway) {
  if (!entry.entity.valid()) return true;
  if (entry.remote != 0) {
    Remote* const before = remotes_.find(entry.entity);
    if (before == nullptr) return true;
    if (!realm::newer(record.stamp, before->stamp)) return false;
    remove(*before);
    return true;
  }
  if (!realm::newer(record.stamp, entry.stamp)) return false;  // they hear of ours
  count(Counter::kRealmYielded);
  if (entry.entity == record.id) {
    yield_own(entry, record.name, record.stamp, gateway, 0);
    return false;
  }
  close_connection(entry);
  RealmOrder order{};
  order.op = RealmOp::kRemove;
  order.entity = entry.entity;
  post(entry.entity_shard.value, order);
  return true;
}

void Realm::add(const Record& record, uint32_t gateway, const realm::Head& head) {
  DirectoryEntry* entry = nullptr;
  if (record.kind == world::EntityKind::kPlayer) {
    entry = shard_.directory_.insert(record.name, shard_.barrier_.tick());
    if (entry == nullptr) {
      count(Counter::kRealmDropped);
      return;
    }
    if (!make_room_for(record, *entry, gateway)) return;
  }
  const world::Steps3 at = shard_.slice_.scale().clamp(record.state.position);
  const base::ShardId shard = shard_.slice_.owner_of_position(at);
  Remote* const r = remotes_.add(record, gateway, head.tick, shard.value, shard_.now_);
  if (r == nullptr) {
    count(Counter::kRealmDropped);
    return;
  }
  r->position = at;
  r->yaw = record.state.yaw;
  if (entry != nullptr) {
    entry->entity = record.id;
    entry->entity_shard = shard;
    entry->remote = 1;
    entry->stamp = record.stamp;
    shard_.directory_.update(entry, shard_.barrier_.tick());
    r->home = shard_.directory_.index_of(entry);
  }
  RealmOrder order = order_of(RealmOp::kSpawn, *r);
  put_state(record.state, &order);
  for (size_t i = 0; i < 3; ++i) order.position[i] = at[i];
  order.tag = record.tag;
  order.name_bytes = static_cast<uint16_t>(record.name.size());
  uint8_t tail[world::kPlayerIdBytesMax + world::kCustomBytesMax];
  std::memcpy(tail, record.name.data(), record.name.size());
  if (!record.custom.empty()) {
    std::memcpy(tail + record.name.size(), record.custom.data(), record.custom.size());
  }
  post(shard.value, order, {tail, record.name.size() + record.custom.size()});
}

// Out of the world here; who asks for the player finds where it stood.
void Realm::remove(Remote& remote) {
  post(remote.shard, order_of(RealmOp::kRemove, remote));
  remotes_.erase(&remote);
}

void Realm::forget_player(Remote& remote) {
  if (remote.kind != world::EntityKind::kPlayer) return;
  DirectoryEntry* const entry = shard_.directory_.entry_at(remote.home);
  if (entry == nullptr || entry->entity != remote.id || entry->remote == 0) return;
  entry->entity = {};
  entry->remote = 0;
  entry->has_position = 1;
  entry->position = remote.position;
  entry->yaw = remote.yaw;
  const std::string_view player = shard_.directory_.player_id(remote.home);
  shard_.directory_.update(entry, shard_.barrier_.tick());
  // It was asked for and is gone: it begins where it stood.
  if (remote.claim != 0 && entry->connection.valid()) shard_.send_spawn(player, *entry);
}

// Its owner is there no more.
void Realm::lose(Remote& remote) {
  if (remote.claim != 0) {
    const std::string_view player = claims_[remote.claim - 1].player();
    take(player, nullptr);
    return;
  }
  forget_player(remote);
  remove(remote);
}

void Realm::on_moved_to(base::EntityId entity, base::ShardId shard) {
  if (!config_.on) return;
  if (Remote* const r = remotes_.find(entity); r != nullptr) r->shard = shard.value;
}

void Realm::on_gone(base::EntityId entity) {
  if (!config_.on) return;
  if (Remote* const r = remotes_.find(entity); r != nullptr) remotes_.erase(r);
}

// --- who owns a player ---

void Realm::close_connection(const DirectoryEntry& entry) {
  if (!entry.connection.valid()) return;
  mailbox::Replaced replaced{entry.connection};
  replaced.far_since_ms = INT64_MAX;  // whatever ours is: the newer stamp is there
  shard_.outbox_.post(entry.connection_shard.value, replaced);
}

// Ours until now. False: it could not be kept as the other gateway's, and leaves the world here.
bool Realm::yield_own(DirectoryEntry& entry, std::string_view player, uint32_t stamp,
                      uint32_t gateway, uint64_t answer_to) {
  close_connection(entry);
  Record record;
  record.id = entry.entity;
  record.stamp = stamp;
  record.name = player;
  RealmOrder order{};
  order.op = RealmOp::kYield;
  order.entity = entry.entity;
  order.stamp = stamp;
  order.gateways = answer_to;
  post(entry.entity_shard.value, order);
  Remote* const r = remotes_.add(record, gateway, 0, entry.entity_shard.value, shard_.now_);
  if (r == nullptr) {
    order.op = RealmOp::kRemove;
    post(entry.entity_shard.value, order);
    count(Counter::kRealmDropped);
    return false;
  }
  r->any_tick = true;
  r->position = entry.position;
  r->home = shard_.directory_.index_of(&entry);
  entry.remote = 1;
  entry.stamp = stamp;
  return true;
}

void Realm::on_claim(const BusMail& mail, std::string_view player) {
  const Cluster& cluster = shard_.cluster_;
  const uint32_t gateway = mail.b != 0 ? cluster.index_of(mail.b)
                                       : static_cast<uint32_t>(std::countr_zero(mail.gateways));
  if (gateway == Cluster::kNone) return;
  const auto stamp = static_cast<uint32_t>(mail.a & UINT32_MAX);
  DirectoryEntry* const entry = shard_.directory_.find(player);
  const bool ours = entry != nullptr && entry->entity.valid() && entry->remote == 0;
  if (ours && realm::newer(stamp, entry->stamp)) {
    count(Counter::kRealmYielded);
    yield_own(*entry, player, stamp, gateway, uint64_t{1} << gateway);
    return;
  }
  // Who asks has not heard yet that it is another one's by now, which is to let go instead.
  const Remote* const r =
      entry != nullptr && entry->remote != 0 ? remotes_.find(entry->entity) : nullptr;
  if (r != nullptr && r->gateway != gateway && (members_ >> r->gateway & 1) != 0 &&
      mail.d < kClaimHopsMax) {
    BusMail on = mail;
    on.gateways = uint64_t{1} << r->gateway;
    on.b = cluster.id_of(gateway);
    on.d = mail.d + 1;
    if (shard_.cluster_.post(on, player, {}, {})) return;
  }
  BusMail answer;
  answer.op = BusOp::kRealmGiven;
  answer.gateways = uint64_t{1} << gateway;
  (void)shard_.cluster_.post(answer, player, {}, {});  // lost: it waits a little longer
}

bool Realm::hold_login(std::string_view player, DirectoryEntry& entry) {
  if (!config_.on) return false;
  entry.stamp = next_stamp(entry.stamp);
  if (entry.remote == 0) return false;
  Remote* const r = remotes_.find(entry.entity);
  if (r == nullptr) {
    entry.remote = 0;
    entry.entity = {};
    return false;
  }
  if (r->claim != 0) return true;  // the newest connection gets it
  const uint32_t i = claims_end_ % static_cast<uint32_t>(claims_.size());
  BusMail mail;
  mail.op = BusOp::kRealmClaim;
  mail.gateways = uint64_t{1} << r->gateway;
  mail.a = uint64_t{entry.entity.value} << 32 | entry.stamp;
  Claim& claim = claims_[i];
  if ((members_ >> r->gateway & 1) == 0 || claims_end_ - claims_first_ == claims_.size() ||
      !shard_.cluster_.post(mail, player, {}, {})) {
    take(player, nullptr);
    return true;
  }
  ++claims_end_;
  claim = Claim{};
  claim.entity = entry.entity;
  claim.connection = entry.connection;
  claim.connection_shard = entry.connection_shard;
  claim.deadline = shard_.now_ + config_.claim_wait;
  claim.name_bytes = static_cast<uint8_t>(player.size());
  std::memcpy(claim.name, player.data(), player.size());
  claim.open = true;
  r->claim = i + 1;
  return true;
}

void Realm::on_given(const BusMail& mail, std::string_view player, base::Bytes data) {
  DirectoryEntry* const entry = shard_.directory_.find(player);
  if (entry == nullptr || entry->remote == 0) return;
  Remote* const r = remotes_.find(entry->entity);
  if (r == nullptr || r->claim == 0) return;
  realm::BatchReader reader(data);
  realm::Head head;
  Record record;
  const bool given = mail.d == 1 && reader.head(&head) && head.world == world_key_ &&
                     reader.next(&record) == realm::BatchReader::Next::kOk && record.id == r->id &&
                     record.type == RecordType::kWhole;
  take(player, given ? &record.state : nullptr);
}

// The entity that was another gateway's is ours from now on, where it stands or as it was given.
void Realm::take(std::string_view player, const realm::State* state) {
  DirectoryEntry* const entry = shard_.directory_.find(player);
  if (entry == nullptr || entry->remote == 0) return;
  Remote* const r = remotes_.find(entry->entity);
  if (r == nullptr) return;
  mailbox::Spawn spawn{};
  spawn.entity = r->id;
  spawn.attach = 1;
  spawn.connection = entry->connection;
  spawn.connection_shard = entry->connection_shard.value;
  if (r->claim != 0) {
    Claim& claim = claims_[r->claim - 1];
    claim.open = false;
    if (!entry->connection.valid()) {
      // It left while it waited: its shard says so when it hears of the entity, and it lingers.
      spawn.connection = claim.connection;
      spawn.connection_shard = claim.connection_shard.value;
    }
  }
  entry->stamp = next_stamp(realm::newer(r->stamp, entry->stamp) ? r->stamp : entry->stamp);
  spawn.stamp = entry->stamp;
  if (state != nullptr) {
    spawn.placed = 1;
    for (size_t i = 0; i < 3; ++i) spawn.position[i] = state->position[i];
    std::memcpy(spawn.velocity, state->velocity, sizeof spawn.velocity);
    spawn.yaw = state->yaw;
    spawn.flags = state->flags;
  }
  entry->remote = 0;
  entry->entity_shard = {r->shard};
  // Should it be gone at its slice by now.
  entry->has_position = 1;
  entry->position = state != nullptr ? shard_.slice_.scale().clamp(state->position) : r->position;
  entry->yaw = state != nullptr ? state->yaw : r->yaw;
  shard_.directory_.update(entry, shard_.barrier_.tick());
  const uint16_t at = r->shard;
  remotes_.erase(r);
  count(Counter::kRealmTaken);
  shard_.outbox_.post(at, spawn, base::as_bytes(player));
}

void Realm::turn() {
  while (claims_first_ != claims_end_) {
    Claim& claim = claims_[claims_first_ % static_cast<uint32_t>(claims_.size())];
    if (claim.open && shard_.now_ < claim.deadline) return;
    if (claim.open) {
      count(Counter::kRealmClaimTimeouts);
      // Meanwhile it may have got another entity elsewhere: who waits here takes that.
      const DirectoryEntry* const entry = shard_.directory_.find(claim.player());
      const Remote* const r = remotes_.find(claim.entity);
      const bool waits = entry != nullptr && entry->connection.valid();
      if (waits || (r != nullptr && r->claim != 0)) take(claim.player(), nullptr);
      claim.open = false;
    }
    ++claims_first_;
  }
}

// --- what shards of places say ---

void Realm::on_order_home(const RealmOrder& order, std::string_view name) {
  Remote* const r = remotes_.find(order.entity);
  if (r == nullptr) return;
  if (order.op == RealmOp::kYielded) {
    // Where it stood when it went; what its new owner says is newer.
    if (!r->any_tick) return;
    r->position = {order.position[0], order.position[1], order.position[2]};
    r->yaw = order.yaw;
    return;
  }
  count(Counter::kRealmDropped);
  if (r->kind == world::EntityKind::kPlayer) {
    DirectoryEntry* const entry = shard_.directory_.find(name);
    if (entry != nullptr && entry->entity == r->id && entry->remote != 0) {
      entry->entity = {};
      entry->remote = 0;
      shard_.directory_.update(entry, shard_.barrier_.tick());
      if (r->claim != 0 && entry->connection.valid()) shard_.send_spawn(name, *entry);
    }
  }
  remotes_.erase(r);
}

}  // namespace tidegate::shard
