// SPDX-License-Identifier: Apache-2.0
// Entities that other gateways own, as known by the home shard of their names: who owns each since
// when, which shard of ours holds its image, and until when that is believed without a new word.
// Here is decided whose word counts: the newest stamp's; of one owner the newest tick's.
//
// Thread: shard. Owner: shard::Realm. Limits: `limit` entities; all memory at construction.
#pragma once

#include <cstdint>

#include "base/time.h"
#include "mem/mapped_array.h"
#include "realm/batch.h"
#include "world/flat_map.h"

namespace tidegate::realm {

struct Remote {
  base::EntityId id;       // 0: no entity
  uint32_t stamp;          // of its owner
  uint32_t tick;           // of the owner, of its last word
  uint32_t claim;          // for the shard's use: 1 + number of the claim under way
  uint32_t index;          // own row
  uint32_t home;           // of a player: its row in the directory
  world::Steps3 position;  // as last said
  uint8_t yaw;             // likewise
  uint16_t shard;          // of this process, that holds it
  uint8_t gateway;         // index of the owner
  world::EntityKind kind;
  bool any_tick;        // the owner may have begun anew: take the next word, whatever its tick
  base::Instant lease;  // without a word until then it goes
};

class Remotes {
 public:
  enum class Verdict : uint8_t {
    kUnknown,  // not here: add() it, or not
    kStale,    // of a former owner, or overtaken
    kGood,     // its owner's word; *out is the entity
    kTaken,    // likewise, and the owner is another one than before
  };

  Remotes(uint32_t limit, base::Duration lease);

  Remote* find(base::EntityId id);
  // nullptr at the limit. The id must not be here.
  Remote* add(const Record& whole, uint32_t gateway, uint32_t tick, uint16_t shard,
              base::Instant now);
  void erase(Remote* remote);

  // A record from `gateway`, as of its tick. kWhole, kState, kGone.
  Verdict judge(const Record& record, uint32_t gateway, uint32_t tick, base::Instant now,
                Remote** out);
  // The gateways of `mask` begin anew: what they do not say again within `grace` goes.
  void doubt(uint64_t mask, base::Instant now, base::Duration grace);
  // Calls visit(Remote&) for all; visit may erase its argument.
  template <class Visit>
  void for_each(Visit&& visit) {
    for (uint32_t i = 0; i < high_water_; ++i) {
      if (rows_[i].id.value != 0) visit(rows_[i]);
    }
  }
  // Calls visit(Remote&) for those whose lease is over, looking at `looks` rows further on each
  // time; visit may erase its argument.
  template <class Visit>
  void expire(base::Instant now, uint32_t looks, Visit&& visit) {
    for (uint32_t n = 0; n < looks && n < high_water_; ++n) {
      if (cursor_ >= high_water_) cursor_ = 0;
      Remote& r = rows_[cursor_++];
      if (r.id.value != 0 && now >= r.lease) visit(r);
    }
  }
  base::Duration lease() const { return lease_; }
  uint32_t count() const { return count_; }
  size_t bytes() const { return rows_.bytes() + index_.bytes(); }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;

  mem::MappedArray<Remote> rows_;
  world::FlatMap index_;
  base::Duration lease_;
  uint32_t count_ = 0, high_water_ = 0, free_ = kNone, cursor_ = 0;
};

}  // namespace tidegate::realm
