// SPDX-License-Identifier: Apache-2.0
// One shard's part of an upgrade: everything it has as records (handover/records.h) and
// descriptors, and a shard made of them in another process. Not carried: history of the world,
// custom state of an embedder (such servers do not upgrade), requests of JSON clients that wait for
// an answer, rate limits and violations (they begin anew).
//
//   old   all shards are held behind one tick (Shard::hold_after); pause() until quiet(); save();
//         then either it never turns again, or resume()
//   new   restore() for each shard on the set-up thread, share_topics() behind all of them; begin()
//         on the shard's thread before its first turn
//
// Thread: shard (pause, quiet, save, resume, begin), setup (restore, share_topics).
// Owner: borrows the shard. Limits: those of the shard; memory is allocated, for once.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "handover/records.h"
#include "world/cell_key.h"
#include "world/world_config.h"

namespace tidegate::shard {

class Shard;

class Handover {
 public:
  explicit Handover(Shard& shard, uint32_t heir_takes = 0) : s_(shard), heir_takes_(heir_takes) {}

  struct State {
    std::vector<uint8_t> records;
    std::vector<int> descriptors;  // of the connections, in the order of their records
    uint64_t closed[static_cast<size_t>(handover::CannotMove::kCount)] = {};
    uint32_t connections = 0;
    uint32_t players = 0;
    uint32_t entities = 0;
    uint32_t sessions = 0;
  };

  // Ends receiving; tells connections that cannot go to come again (close 1012). Once a turn.
  void pause();
  // Nothing that the shard knows of is under way.
  bool quiet() const;
  // False: the kernel gives no descriptors; then there are none in `out`.
  bool save(State* out);
  void resume();

  // Cells that belong to another shard than the rule says are those whose entities came from there.
  // Calls visit(cell, shard) for each entity of `records` in such a cell. False: they are cut.
  static bool find_moved_cells(base::Bytes records, const world::WorldScale& scale, uint32_t shard,
                               const std::function<void(world::CellKey)>& visit);
  // Before restore(), on every shard. False: more cells than may be moved here.
  bool note_owner(world::CellKey cell, uint32_t shard);
  // Takes the descriptors. False with text: it does not fit.
  bool restore(base::Bytes records, std::span<const int> descriptors, std::string* error);
  // Calls visit(topic) for each whose messages come to this shard.
  void for_each_topic(const std::function<void(std::string_view)>& visit) const;
  // The home's side of it.
  void add_reader(std::string_view topic, uint32_t shard);
  void begin();

 private:
  void save_player(uint32_t slot, handover::Writer& out);
  void save_world(State* state, handover::Writer& out);
  void save_sessions(State* state, handover::Writer& out);
  void save_topics(handover::Writer& out);
  bool restore_player(const handover::Player& from);
  bool restore_steer(const handover::Steer& from);
  bool restore_entity(const handover::Entity& from);
  bool restore_input(const handover::Input& from);
  bool restore_home(const handover::Home& from);
  bool restore_subscription(const handover::Subscription& from);
  void save_social(handover::Writer& out);
  bool restore_user(const handover::User& from);
  bool restore_watch(const handover::Watch& from);

  Shard& s_;
  uint32_t heir_takes_;  // bits of handover/records.h
  bool told_ = false;
  std::vector<uint8_t> scratch_;
  std::vector<uint32_t> slots_;  // restored
  // At a user's home: connections whose shards are to hear of the user's groups and blocks.
  struct Told {
    std::string user;
    uint32_t shard;
    base::ConnectionRef connection;
  };
  std::vector<Told> tell_;
};

}  // namespace tidegate::shard
