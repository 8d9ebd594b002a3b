// SPDX-License-Identifier: Apache-2.0
// One world over several gateways, as a shard sees it (docs/cluster.md, docs/decisions/
// 0017-shared-world.md). Three parts that all shards have:
//
//   realm.cc        says to other gateways how own entities are and which blocks are watched here,
//                   and takes what they say
//   realm_home.cc   home of names: which entities of others there are (realm/remotes.h), whose word
//                   counts, and who owns a player that comes in (a claim)
//   realm_slice.cc  images of them in this shard's slice, placed before each simulate
//
// In the slice an entity of another gateway is like any other but for StateBit kRemote; so cells,
// layers, budgets, checksums and interest know nothing of gateways. Without RealmConfig::on all of
// it is a flag that is asked.
//
// Thread: shard. Owner: Shard. Limits: RealmConfig; a claim for each entity.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/time.h"
#include "mailbox/bus_messages.h"
#include "mailbox/realm_messages.h"
#include "mem/mapped_array.h"
#include "metrics/metrics.h"
#include "realm/areas.h"
#include "realm/outgoing.h"
#include "realm/remotes.h"
#include "world/directory.h"
#include "world/world_slice.h"

namespace tidegate::shard {

class Shard;

struct RealmConfig {
  bool on = false;
  uint32_t number = 0;                                  // of this gateway, 1..realm::kNumberMax
  uint32_t rate = 20;                                   // states a second of an entity that moves
  base::Duration refresh = base::seconds(2);            // each entity is said whole so often
  base::Duration areas = base::seconds(1);              // what is watched, likewise
  base::Duration claim_wait = base::milliseconds(300);  // for the owner's answer
  base::Duration grace = base::milliseconds(2500);      // for who begins anew to say all again
  // At the start nobody makes NPCs: who else shares the world is not known yet.
  base::Duration settle = base::seconds(2);
};

class Realm final : realm::BatchSink {
 public:
  Realm(Shard& shard, const RealmConfig& config);

  bool on() const { return config_.on; }
  uint64_t peers() const { return peers_; }
  uint32_t remote_count() const { return remotes_.count(); }

  // --- the cluster ---
  void on_view();
  void on_bus_mail(const mailbox::BusMail& mail, base::Bytes tail);
  // A message of the game for places of this world, to the other gateways.
  void send_near(const mailbox::DeliverNear& near, base::Bytes payload);

  // --- the tick ---
  void before_simulate();
  void after_flush();
  void turn();
  bool waiting() const { return claims_first_ != claims_end_; }

  // --- the home ---
  base::EntityId make_id(uint32_t counter) const;
  uint32_t next_stamp(uint32_t before) const;
  // A login: true when another gateway is asked for the player first; the entity is made or taken
  // later.
  bool hold_login(std::string_view player, world::DirectoryEntry& entry);
  void on_moved_to(base::EntityId entity, base::ShardId shard);
  // An own entity left the world; were it another gateway's by now, nobody has its image here.
  void on_gone(base::EntityId entity);

  // --- the slice ---
  void on_order(base::Bytes bytes);
  // An entity leaves the world of this slice. True when it was another gateway's.
  bool note_gone(world::EntitySlot s);
  bool is_remote(world::EntitySlot s) const;
  // It was taken over from another gateway and is to stand there.
  void place_taken(const mailbox::Spawn& spawn);
  // Whether this gateway makes NPCs and objects at the place.
  bool owns_place(const world::Steps3& position) const {
    return !config_.on || (may_own() && (peers_ == 0 || gateway_of_place(position) == own_index()));
  }

  void update_gauges();
  size_t memory_bytes() const;

 private:
  struct Claim {
    base::EntityId entity;
    base::ConnectionRef connection;
    base::ShardId connection_shard;
    uint8_t name_bytes;
    bool open;
    base::Instant deadline;
    char name[world::kPlayerIdBytesMax];
    std::string_view player() const { return {name, name_bytes}; }
  };
  struct Pending {
    int64_t sent_ms;
    base::EntityId entity;
    bool taken;  // also when it is ours by now
    uint8_t hops;
    world::Input input;
  };

  bool send(uint64_t gateways, base::Bytes batch) override;
  realm::Head head(realm::Kind kind) const;
  void count(metrics::Counter counter, uint64_t n = 1);
  bool home_is_here(std::string_view name) const;

  // realm.cc
  void on_batch(const mailbox::BusMail& mail, base::Bytes data);
  void announce(bool anew);
  uint32_t gather_blocks();

  // realm_home.cc
  void on_record(const realm::Record& record, uint32_t gateway, const realm::Head& head);
  void add(const realm::Record& record, uint32_t gateway, const realm::Head& head);
  void move(realm::Remote& remote, const realm::Record& record, int64_t sent_ms);
  void remove(realm::Remote& remote);
  void forget_player(realm::Remote& remote);
  void lose(realm::Remote& remote);
  bool make_room_for(const realm::Record& record, world::DirectoryEntry& entry, uint32_t gateway);
  bool yield_own(world::DirectoryEntry& entry, std::string_view player, uint32_t stamp,
                 uint32_t gateway, uint64_t answer_to);
  void close_connection(const world::DirectoryEntry& entry);
  void on_claim(const mailbox::BusMail& mail, std::string_view player);
  void on_given(const mailbox::BusMail& mail, std::string_view player, base::Bytes data);
  void take(std::string_view player, const realm::State* state);
  void on_order_home(const mailbox::RealmOrder& order, std::string_view name);

  // realm_slice.cc
  void order_spawn(mailbox::RealmOrder order, base::Bytes tail);
  void order_yield(mailbox::RealmOrder order);
  void set_custom(base::EntityId entity, base::Bytes custom);
  void queue_move(const mailbox::RealmOrder& order, bool taken);
  void pass_on(const world::Queued& queued, mailbox::RealmOrder order, base::Bytes tail = {});
  uint32_t gateway_of_place(const world::Steps3& position) const;
  uint32_t own_index() const;
  bool may_own() const;
  void post(uint32_t shard, const mailbox::RealmOrder& order, base::Bytes tail = {});

  Shard& shard_;
  RealmConfig config_;
  uint64_t world_key_;
  uint32_t every_;  // ticks between two runs
  uint64_t members_ = 0;
  uint64_t peers_ = 0;  // gateways of this world
  uint64_t self_key_ = 0;
  base::Instant owns_at_{};                      // from then on places may be ours
  uint8_t numbers_[mailbox::kGatewaysMax] = {};  // of gateways, as they say
  realm::Areas areas_;
  realm::Outgoing outgoing_;
  realm::Remotes remotes_;
  mem::MappedArray<Pending> pending_;
  uint32_t pending_count_ = 0;
  mem::MappedArray<Claim> claims_;  // ring, in the order of their deadlines
  uint64_t claims_first_ = 0, claims_end_ = 0;
  mem::MappedArray<uint32_t> blocks_, announced_;  // packed, sorted
  uint32_t announced_count_ = 0;
  base::Instant announce_at_{}, age_at_{};
  mem::MappedArray<uint8_t> room_;
};

}  // namespace tidegate::shard
