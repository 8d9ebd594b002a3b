// SPDX-License-Identifier: Apache-2.0
#include "shard/realm.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "shard/shard.h"

namespace tidegate::shard {

using mailbox::BusMail;
using mailbox::BusOp;
using metrics::Counter;

namespace {
constexpr uint32_t kAreasBatchBytes = 12 * 1024;
constexpr uint32_t kLooksPerTick = 256;  // for leases
// A new block is said within so many ticks.
constexpr uint32_t kAreaTicks = 6;
}  // namespace

Realm::Realm(Shard& shard, const RealmConfig& config)
    : shard_(shard),
      config_(config),
      world_key_(realm::world_key(shard.config_.world)),
      every_(std::max(1u, shard.config_.world.tick_rate / std::max(1u, config.rate))),
      areas_(config.on ? shard.config_.world.cells : 0),
      outgoing_(
          {.entities = config.on ? shard.config_.world.entities : 0,
           .refresh_runs = static_cast<uint32_t>(std::max<int64_t>(
               1, config.refresh.ns * shard.config_.world.tick_rate / every_ / 1'000'000'000))}),
      remotes_(config.on ? shard.config_.world.entities : 0, config.refresh * 3),
      pending_(config.on ? size_t{shard.config_.world.entities} * 2 : 0),
      claims_(config.on ? shard.config_.world.entities : 0),
      blocks_(config.on ? shard.config_.world.cells : 0),
      announced_(config.on ? shard.config_.world.cells : 0),
      room_(config.on ? kAreasBatchBytes : 0) {
  TG_ASSERT(!config.on || (config.number != 0 && config.number <= realm::kNumberMax));
}

base::EntityId Realm::make_id(uint32_t counter) const {
  // Wraps at the same count on all shards, so that no two of them give the same.
  const uint32_t shards = shard_.config_.count;
  const uint32_t mine = counter % ((1u << realm::kCounterBits) / shards);
  return realm::make_id(config_.number, mine * shards + shard_.config_.index);
}

uint32_t Realm::next_stamp(uint32_t before) const {
  return config_.on ? realm::next_stamp(shard_.io_.unix_ms(), before, config_.number) : 0;
}

void Realm::count(Counter counter, uint64_t n) { shard_.counters_.add(counter, n); }

bool Realm::home_is_here(std::string_view name) const {
  return world::home_of(name, shard_.config_.count).value == shard_.config_.index;
}

realm::Head Realm::head(realm::Kind kind) const {
  return {kind, static_cast<uint8_t>(config_.number), shard_.barrier_.tick(), world_key_,
          shard_.io_.unix_ms()};
}

// --- the cluster ---

void Realm::on_view() {
  if (!config_.on) return;
  const uint64_t now = shard_.cluster_.members();
  const uint64_t kept = shard_.cluster_.kept();
  const uint64_t gone = members_ & ~now;
  members_ = now;
  peers_ &= kept;
  for (uint32_t i = 0; i < mailbox::kGatewaysMax; ++i) {
    if ((kept >> i & 1) == 0) numbers_[i] = 0;
  }
  // Who may have missed something itself, or dropped something, says all again too.
  const bool anew = self_key_ != shard_.cluster_.self_key();
  self_key_ = shard_.cluster_.self_key();
  if (owns_at_ == base::Instant{}) owns_at_ = shard_.now_ + config_.settle;
  outgoing_.forget(anew ? ~uint64_t{0} : ~kept);
  areas_.forget(~kept);
  remotes_.doubt(now & ~kept, shard_.now_, config_.grace);
  remotes_.for_each([&](realm::Remote& r) {
    if ((gone >> r.gateway & 1) != 0) lose(r);
  });
  announce_at_ = shard_.now_;
}

bool Realm::send(uint64_t gateways, base::Bytes batch) {
  BusMail mail;
  mail.op = BusOp::kRealmBatch;
  mail.gateways = gateways;
  mail.shard = mailbox::kEveryShard;
  return shard_.cluster_.post(mail, {}, {}, batch);
}

void Realm::send_near(const mailbox::DeliverNear& near, base::Bytes payload) {
  if (peers_ == 0) return;
  BusMail mail;
  mail.op = BusOp::kSendNear;
  mail.gateways = peers_;
  mail.shard = mailbox::kEveryShard;
  mail.a = uint64_t{static_cast<uint32_t>(near.x)} << 32 | static_cast<uint32_t>(near.z);
  mail.b = near.source;
  mail.c = uint64_t{static_cast<uint32_t>(near.shape)} << 32 | near.radius;
  mail.d = near.message_type;
  if (!shard_.cluster_.post(mail, {}, {}, payload)) count(Counter::kHandlerSendsDropped);
}

void Realm::on_bus_mail(const BusMail& mail, base::Bytes tail) {
  if (!config_.on) return;
  const std::string_view name = base::as_text(tail.first(mail.name_bytes));
  const base::Bytes data = tail.subspan(size_t{mail.name_bytes} + mail.extra_bytes);
  switch (mail.op) {
    case BusOp::kRealmBatch:
      on_batch(mail, data);
      break;
    case BusOp::kRealmClaim:
      on_claim(mail, name);
      break;
    case BusOp::kRealmGiven:
      on_given(mail, name, data);
      break;
    case BusOp::kSendNear: {
      const auto shape = static_cast<mailbox::NearShape>(mail.c >> 32);
      // Of gateways of another world the places mean nothing here.
      if ((mail.gateways & peers_) == 0 || shape > mailbox::NearShape::kInWorld ||
          data.size() > kPeerBytesMax || !may_send(mail.d)) {
        return;
      }
      mailbox::DeliverNear near{};
      near.except_shard = UINT32_MAX;
      near.message_type = mail.d;
      near.x = static_cast<int32_t>(mail.a >> 32);
      near.z = static_cast<int32_t>(mail.a & UINT32_MAX);
      near.radius = static_cast<uint32_t>(mail.c & UINT32_MAX);
      near.shape = shape;
      near.source = mail.b;
      shard_.deliver_near(near, data);
      break;
    }
    default:
      break;
  }
}

void Realm::on_batch(const BusMail& mail, base::Bytes data) {
  const auto gateway = static_cast<uint32_t>(std::countr_zero(mail.gateways));
  if (gateway >= mailbox::kGatewaysMax || (members_ >> gateway & 1) == 0) return;
  realm::BatchReader reader(data);
  realm::Head head;
  if (!reader.head(&head)) {
    count(Counter::kRealmRefused);
    return;
  }
  if (head.world != world_key_) return;  // another zone
  // Two of one number would give the same ids to different entities.
  bool taken = head.number == config_.number;
  for (uint32_t i = 0; i < mailbox::kGatewaysMax; ++i) {
    taken |= i != gateway && numbers_[i] == head.number && (members_ >> i & 1) != 0;
  }
  if (taken) {
    count(Counter::kRealmRefused);
    return;
  }
  numbers_[gateway] = head.number;
  if (head.kind == realm::Kind::kAreas) {
    peers_ |= uint64_t{1} << gateway;
    realm::Block block;
    realm::BatchReader::Next next;
    while ((next = reader.next(&block)) == realm::BatchReader::Next::kOk) {
      areas_.note(uint64_t{1} << gateway, block);
    }
    if (next == realm::BatchReader::Next::kBad) count(Counter::kRealmRefused);
    return;
  }
  realm::Record record;
  for (;;) {
    const realm::BatchReader::Next next = reader.next(&record);
    if (next == realm::BatchReader::Next::kOk) {
      on_record(record, gateway, head);
      continue;
    }
    if (next == realm::BatchReader::Next::kBad) count(Counter::kRealmRefused);
    return;
  }
}

// --- what this gateway watches ---

uint32_t Realm::gather_blocks() {
  uint32_t n = 0;
  shard_.slice_.for_each_watched([&](world::CellKey cell) {
    if (n < blocks_.size()) blocks_[n++] = realm::block_of(cell).packed();
  });
  std::sort(blocks_.data(), blocks_.data() + n);
  return static_cast<uint32_t>(std::unique(blocks_.data(), blocks_.data() + n) - blocks_.data());
}

// All of it; or, in between, only when there is something new.
void Realm::announce(bool anew) {
  const uint32_t n = gather_blocks();
  const uint32_t* const had = announced_.data();
  if (!anew && std::includes(had, had + announced_count_, blocks_.data(), blocks_.data() + n)) {
    return;
  }
  const auto send_all = [&](base::Bytes batch) {
    BusMail mail;
    mail.op = BusOp::kRealmBatch;
    mail.gateways = mailbox::kAllGateways;
    mail.shard = mailbox::kEveryShard;
    return shard_.cluster_.post(mail, {}, {}, batch);
  };
  realm::BatchWriter writer({room_.data(), room_.size()});
  writer.begin(head(realm::Kind::kAreas));
  bool sent = true;
  for (uint32_t i = 0; i < n; ++i) {
    const world::CellKey key = world::CellKey::from_packed(blocks_[i]);
    const realm::Block block{key.x, key.z};
    if (writer.put(block)) continue;
    sent &= send_all(writer.bytes());
    writer.begin(head(realm::Kind::kAreas));
    writer.put(block);
  }
  sent &= send_all(writer.bytes());
  if (!sent) return;  // again at the next look
  std::copy_n(blocks_.data(), n, announced_.data());
  announced_count_ = n;
  if (anew) announce_at_ = shard_.now_ + config_.areas;
}

// --- the tick ---

void Realm::after_flush() {
  if (!config_.on || shard_.cluster_.alone()) return;
  const uint32_t tick = shard_.barrier_.tick();
  const base::Instant now = shard_.now_;
  if (now >= age_at_) {
    // An interval holds two announcements at least.
    age_at_ = now + config_.areas * 5 / 2;
    areas_.age();
  }
  const bool anew = now >= announce_at_;
  if (anew || (tick + shard_.config_.index) % kAreaTicks == 0) announce(anew);
  remotes_.expire(now, kLooksPerTick, [&](realm::Remote& r) {
    count(Counter::kRealmExpired);
    lose(r);
  });
  if (tick % every_ != 0) return;
  outgoing_.run(head(realm::Kind::kStates), peers_, areas_, shard_.slice_.entities(),
                shard_.slice_.scale(), *this);
}

void Realm::update_gauges() {
  if (!config_.on) return;
  metrics::Counters& c = shard_.counters_;
  const realm::OutgoingCounters& out = outgoing_.counters();
  c.set(Counter::kRealmStatesSent, out.states);
  c.set(Counter::kRealmWholesSent, out.wholes);
  c.set(Counter::kRealmBytesSent, out.bytes);
  c.set(Counter::kRealmBatchesRefused, out.refused);
  c.set(metrics::Gauge::kEntitiesRemote, remotes_.count());
  if (shard_.config_.index == 0) {
    c.set(metrics::Gauge::kRealmPeers, static_cast<uint64_t>(std::popcount(peers_)));
  }
}

size_t Realm::memory_bytes() const {
  return areas_.bytes() + outgoing_.bytes() + remotes_.bytes() + pending_.bytes() +
         claims_.bytes() + blocks_.bytes() + announced_.bytes() + room_.bytes();
}

}  // namespace tidegate::shard
