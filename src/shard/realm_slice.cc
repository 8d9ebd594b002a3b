// SPDX-License-Identifier: Apache-2.0
// Images of other gateways' entities in this shard's slice, and own ones that go to another
// gateway. Places change before a simulate only, when the slice looks whether cells were crossed;
// until then they wait here.
#include <bit>
#include <cstring>

#include "bus/rendezvous.h"
#include "shard/realm.h"
#include "shard/shard.h"

namespace tidegate::shard {

using mailbox::BusMail;
using mailbox::BusOp;
using mailbox::RealmOp;
using mailbox::RealmOrder;
using metrics::Counter;
using world::EntitySlot;
using world::kNoEntity;

namespace {

constexpr uint8_t kHopsMax = 8;
constexpr uint32_t kBatchOfOne = realm::kHeadBytes + realm::kRecordBytesMax;

realm::Record record_of(const world::EntityTable& entities, EntitySlot s, uint32_t stamp) {
  const world::Image& image = entities.image(s);
  realm::Record record;
  record.type = realm::RecordType::kWhole;
  record.id = entities.id(s);
  record.stamp = stamp;
  record.kind = image.kind;
  record.tag = entities.control(s).tag;
  record.name = entities.player_id(s);
  record.state.position = image.position;
  std::memcpy(record.state.velocity, image.velocity, sizeof image.velocity);
  record.state.yaw = image.yaw;
  record.state.flags = image.flags;
  if (entities.has_custom()) record.custom = entities.custom(s).state();
  return record;
}

}  // namespace

bool Realm::is_remote(EntitySlot s) const {
  return (shard_.slice_.entities().membership(s).state & world::kRemote) != 0;
}

bool Realm::note_gone(EntitySlot s) {
  if (!config_.on) return false;
  if (is_remote(s)) return true;
  const world::EntityTable& entities = shard_.slice_.entities();
  outgoing_.note_gone(entities.id(s), entities.control(s).stamp);
  return false;
}

void Realm::pass_on(const world::Queued& queued, RealmOrder order, base::Bytes tail) {
  if (queued.status != world::QueueStatus::kForward || order.hops >= kHopsMax) return;
  ++order.hops;
  post(queued.to.value, order, tail);
}

void Realm::on_order(base::Bytes bytes) {
  base::Bytes tail;
  const auto order = mailbox::read_message<RealmOrder>(bytes, &tail);
  switch (order.op) {
    case RealmOp::kSpawn:
      order_spawn(order, tail);
      break;
    case RealmOp::kMove:
      queue_move(order, false);
      break;
    case RealmOp::kCustom:
      set_custom(order.entity, tail);
      break;
    case RealmOp::kRemove:
      pass_on(shard_.slice_.remove(order.entity), order);
      break;
    case RealmOp::kYield:
      order_yield(order);
      break;
    case RealmOp::kRefused:
    case RealmOp::kYielded:
      on_order_home(order, base::as_text(tail.first(order.name_bytes)));
      break;
  }
}

void Realm::order_spawn(RealmOrder order, base::Bytes tail) {
  world::WorldSlice& slice = shard_.slice_;
  world::SpawnSpec spec;
  spec.player_id = base::as_text(tail.first(order.name_bytes));
  spec.kind = static_cast<world::EntityKind>(order.kind);
  spec.position = {order.position[0], order.position[1], order.position[2]};
  spec.yaw = order.yaw;
  std::memcpy(spec.velocity, order.velocity, sizeof spec.velocity);
  spec.flags = order.flags;
  spec.tag = order.tag;
  spec.stamp = order.stamp;
  spec.remote = true;
  const uint32_t home = world::home_of(spec.player_id, shard_.config_.count).value;
  const world::SpawnStatus status = slice.spawn(order.entity, spec, shard_.barrier_.tick());
  if (status == world::SpawnStatus::kOk) {
    set_custom(order.entity, tail.subspan(order.name_bytes));
    if (order.hops != 0) {
      shard_.outbox_.post(home, mailbox::TransferNotice{order.entity},
                          tail.first(order.name_bytes));
    }
    return;
  }
  const base::ShardId owner = slice.owner_of_position(spec.position);
  if (status == world::SpawnStatus::kNotOwner && owner.value != shard_.config_.index &&
      order.hops < kHopsMax) {
    // The place went to another shard while the order was on its way.
    slice.forward(order.entity, owner, shard_.barrier_.tick());
    ++order.hops;
    post(owner.value, order, tail);
    return;
  }
  if (status == world::SpawnStatus::kExists) {
    const EntitySlot s = slice.entities().find(order.entity);
    constexpr uint8_t kGoing = world::kLeaving | world::kOutOfCell;
    const bool going = (slice.entities().membership(s).state & kGoing) != 0;
    const bool ours = !is_remote(s);
    const bool older = ours && realm::newer(order.stamp, slice.entities().control(s).stamp);
    if (older) slice.yield(order.entity, order.stamp);
    if (!going && (!ours || older)) {
      queue_move(order, false);
      return;
    }
  }
  order.op = RealmOp::kRefused;
  shard_.outbox_.post(home, order, tail.first(order.name_bytes));
}

void Realm::set_custom(base::EntityId entity, base::Bytes custom) {
  world::WorldSlice& slice = shard_.slice_;
  if (custom.empty() || !slice.entities().has_custom()) return;
  const EntitySlot s = slice.entities().find(entity);
  if (s == kNoEntity || !is_remote(s)) return;
  const base::Bytes had = slice.entities().custom(s).state();
  if (had.size() == custom.size() && std::memcmp(had.data(), custom.data(), had.size()) == 0) {
    return;
  }
  (void)slice.set_custom(entity, custom, {});
}

void Realm::queue_move(const RealmOrder& order, bool taken) {
  if (pending_count_ == pending_.size()) {
    count(Counter::kRealmDropped);
    return;
  }
  Pending& p = pending_[pending_count_++];
  p.sent_ms = order.sent_ms;
  p.entity = order.entity;
  p.taken = taken;
  p.hops = order.hops;
  p.input = world::Input{};
  using Input = world::Input;
  p.input.has =
      static_cast<uint8_t>(Input::kPosition | Input::kYaw | Input::kVelocity | Input::kFlags);
  p.input.position = {order.position[0], order.position[1], order.position[2]};
  std::memcpy(p.input.velocity, order.velocity, sizeof p.input.velocity);
  p.input.yaw = order.yaw;
  p.input.flags = order.flags;
}

void Realm::place_taken(const mailbox::Spawn& spawn) {
  RealmOrder order{};
  order.op = RealmOp::kMove;
  order.entity = spawn.entity;
  for (size_t i = 0; i < 3; ++i) order.position[i] = spawn.position[i];
  std::memcpy(order.velocity, spawn.velocity, sizeof order.velocity);
  order.yaw = spawn.yaw;
  order.flags = spawn.flags;
  queue_move(order, true);
}

void Realm::before_simulate() {
  if (pending_count_ == 0) return;
  world::WorldSlice& slice = shard_.slice_;
  const int64_t now_ms = shard_.io_.unix_ms();
  for (uint32_t i = 0; i < pending_count_; ++i) {
    const Pending& p = pending_[i];
    const EntitySlot s = slice.entities().find(p.entity);
    if (s == kNoEntity) {
      const base::ShardId to = slice.entities().forwarded_to(p.entity);
      if (!to.valid() || p.hops >= kHopsMax) continue;
      RealmOrder order{};
      order.op = RealmOp::kMove;
      order.entity = p.entity;
      for (size_t k = 0; k < 3; ++k) order.position[k] = p.input.position[k];
      std::memcpy(order.velocity, p.input.velocity, sizeof order.velocity);
      order.yaw = p.input.yaw;
      order.flags = p.input.flags;
      order.sent_ms = p.sent_ms;
      order.hops = static_cast<uint8_t>(p.hops + 1);
      if (!shard_.mailbox_.post(to.value, order)) count(Counter::kRealmDropped);
      continue;
    }
    if (!is_remote(s) && !p.taken) continue;  // it became ours meanwhile
    (void)slice.place(p.entity, p.input);
    // One of sixteen is enough to see how old they are.
    if (p.sent_ms != 0 && p.entity.value % 16 == 0 && now_ms >= p.sent_ms) {
      shard_.counters_.record(metrics::Timing::kRealmAge, base::milliseconds(now_ms - p.sent_ms));
    }
  }
  pending_count_ = 0;
}

void Realm::order_yield(RealmOrder order) {
  world::WorldSlice& slice = shard_.slice_;
  const EntitySlot s = slice.entities().find(order.entity);
  if (s == kNoEntity) {
    const base::ShardId to = slice.entities().forwarded_to(order.entity);
    if (to.valid()) pass_on({world::QueueStatus::kForward, to}, order);
    return;  // gone: the claim's time runs out
  }
  uint8_t room[kBatchOfOne];
  realm::BatchWriter writer(room);
  writer.begin(head(realm::Kind::kStates));
  writer.put(record_of(slice.entities(), s, order.stamp));
  const std::string_view name = slice.entities().player_id(s);
  const world::Queued queued = slice.yield(order.entity, order.stamp);
  RealmOrder yielded = order;
  yielded.op = RealmOp::kYielded;
  const world::Image& image = slice.entities().image(s);
  for (size_t i = 0; i < 3; ++i) yielded.position[i] = image.position[i];
  yielded.yaw = image.yaw;
  yielded.kind = static_cast<uint8_t>(image.kind);
  yielded.name_bytes = static_cast<uint16_t>(name.size());
  shard_.outbox_.post(world::home_of(name, shard_.config_.count).value, yielded,
                      base::as_bytes(name));
  if (order.gateways == 0) return;
  BusMail mail;
  mail.op = BusOp::kRealmGiven;
  mail.gateways = order.gateways;
  mail.d = queued.status == world::QueueStatus::kOk ? 1 : 0;
  (void)shard_.cluster_.post(mail, name, {}, writer.bytes());
}

// --- what is no player ---

uint32_t Realm::own_index() const { return shard_.cluster_.self(); }

bool Realm::may_own() const {
  return owns_at_ != base::Instant{} && shard_.now_ >= owns_at_ && !shard_.cluster_.joining();
}

uint32_t Realm::gateway_of_place(const world::Steps3& position) const {
  const realm::Block block = realm::block_of(shard_.slice_.scale().cell_of(position));
  const uint64_t name = bus::mix(block.packed() ^ world_key_);
  const Cluster& cluster = shard_.cluster_;
  uint32_t best = cluster.self();
  uint64_t best_id = cluster.id_of(best);
  for (uint64_t left = peers_; left != 0; left &= left - 1) {
    const auto i = static_cast<uint32_t>(std::countr_zero(left));
    const uint64_t id = cluster.id_of(i);
    const uint64_t a = bus::weight(name, id);
    const uint64_t b = bus::weight(name, best_id);
    if (a > b || (a == b && id > best_id)) {
      best = i;
      best_id = id;
    }
  }
  return best;
}

}  // namespace tidegate::shard
