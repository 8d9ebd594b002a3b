// SPDX-License-Identifier: Apache-2.0
// Who is in the cluster, and when all agree that they are: a pure machine over heartbeats, marks
// and time.
//
// A view is the set of live gateways with their epochs; its number is a hash of that, so gateways
// that see the same have the same number without any vote. When the view changes, homes move.
// Messages between two gateways keep order, so two rounds of marks tell when nothing of the view
// before is under way any more:
//
//   kFlush   own shards know the view and have said all that follows from it (joins, hand-overs)
//   kSynced  every member's kFlush has come, and own shards have handled what came before those
//   settled  every member's kSynced has come: messages that were held for moved homes go on
//
// A member that is silent for the time-out is dropped, which is another view. Who does not mark in
// time (it may see other members than we) is not waited for any longer: play goes on. An epoch
// rises when its gateway may have missed something: all that depends on it is then said anew.
//
// The era counts losses: it rises when a member goes, or comes back as another process. Whoever has
// settled a view uses an era that every member of it has heard of, so those that remain after the
// next loss are above whatever the lost one used. Who settles late, without the others, may not
// have heard of a loss that they are about to see: it takes an era of its own, one above what it
// knows, and a loss counts two, which is above that even if it is lost before anyone has heard of
// it.
//
// Thread: control. Owner: BusService. Limits: mailbox::kGatewaysMax members.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/time.h"

namespace tidegate::bus {

struct MembershipConfig {
  base::Duration heartbeat = base::milliseconds(200);
  base::Duration timeout = base::milliseconds(1500);  // without a heartbeat: it is gone
  base::Duration settle = base::seconds(1);           // for both rounds of marks
  // At the start, for those to be heard of who have settled already.
  base::Duration join = base::seconds(1);
};

enum class Mark : uint8_t { kFlush = 1, kSynced = 2 };

class Membership {
 public:
  static constexpr uint64_t kEraMax = UINT32_MAX / 2;  // beyond: not from a gateway

  struct Member {
    uint64_t id = 0;
    uint64_t epoch = 0;
    uint32_t index = 0;
    bool self = false;
    bool fresh = false;  // has never settled: it cannot know what those before it said
    std::string name;
    base::Instant heard{};
    uint64_t marked[2] = {};  // views of its last kFlush and kSynced
    uint64_t flush_era = 0;   // said with that kFlush
  };
  enum class Stage : uint8_t { kFlushing, kSyncing, kSettled };

  Membership(const MembershipConfig& config, std::string_view name, uint64_t epoch);

  // There is a way to the others: whoever is there is heard of until then.
  void heard_by(base::Instant time);
  // A sign of life. False: it is of an earlier epoch, or there is no room for one more gateway.
  bool on_heard(std::string_view name, uint64_t epoch, base::Instant now, bool fresh = false);
  // It says that it leaves.
  void on_leave(uint64_t id);
  void on_mark(uint64_t id, Mark mark, uint64_t view, uint64_t era);
  void on_era(uint64_t era);  // another one's
  // This gateway may have missed something: others are to say all anew.
  void raise_epoch();
  // Shards have handled everything up to the mark of this phase (1 or 2) of the view.
  void on_shards_done(uint64_t view, uint32_t phase);

  // Drops who is silent, and goes on. Call it often; `view_changed`, `mark_due` and `settled` say
  // what is to be done, once each.
  void turn(base::Instant now);
  // The view is another one: tell the shards, with phase 1.
  bool take_view_changed();
  // Send this mark to all others. For kSynced the shards have marked phase 2.
  bool take_mark(Mark* mark);
  bool take_phase2();  // the shards are to mark phase 2
  bool take_settled();

  uint64_t view() const { return view_; }
  // The highest heard of, to be said with heartbeats and marks; and the settled view's.
  uint64_t era() const { return era_; }
  uint64_t flush_era() const { return flush_era_; }  // as it goes with this view's kFlush
  uint64_t view_era() const { return view_era_; }
  Stage stage() const { return stage_; }
  const std::vector<Member>& members() const { return members_; }
  const Member* find(uint64_t id) const;
  const Member& self() const;
  uint64_t views() const { return views_; }          // changes so far
  uint64_t unsettled() const { return unsettled_; }  // that ended by time
  // Index of a gateway that was ever a member, or UINT32_MAX.
  uint32_t index_of(uint64_t id) const;

 private:
  struct Lost {  // dropped because it was silent
    uint64_t id, epoch;
  };
  void change(base::Instant now);
  void agree_on_era();
  bool all_marked(Mark mark) const;
  Member* member(uint64_t id);
  uint32_t give_index(uint64_t id);

  MembershipConfig config_;
  std::vector<Member> members_;    // by id; self among them
  std::vector<uint64_t> indices_;  // ids by index
  std::vector<Lost> lost_;
  uint64_t self_ = 0;
  uint64_t view_ = 0, views_ = 0, unsettled_ = 0;
  uint64_t era_ = 0, flush_era_ = 0, view_era_ = 0;
  Stage stage_ = Stage::kFlushing;
  base::Instant stage_until_{};
  base::Instant last_turn_{};
  base::Instant join_until_{};
  uint32_t shards_done_ = 0;  // phase
  bool changed_ = true, loss_ = false, flush_sent_ = false, synced_sent_ = false, phase2_ = false;
  bool view_due_ = false, flush_due_ = false, synced_due_ = false, phase2_due_ = false;
  bool settled_due_ = false;
};

}  // namespace tidegate::bus
