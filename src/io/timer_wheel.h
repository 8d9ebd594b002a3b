// SPDX-License-Identifier: Apache-2.0
// Hierarchical timer wheel over the caller's own indices (connection slots, session slots): one
// timer for each index. Six levels of 64 buckets; schedule and cancel are O(1), a timer moves down
// at most five times before it is due, next_deadline() looks at six bitmaps.
//
// Timers are due on the granularity grid, rounded up: never early, late by less than one step.
// Timers of the same step come in no particular but a reproducible order.
//
// Thread: the owner's. Owner: the caller. Limits: `capacity` timers of 16 bytes, touched when
// first used. Due times lie at most 2^54 steps away (at 1 ms: half a million years); later ones are
// due then.
#pragma once

#include <bit>
#include <cstdint>

#include "base/assert.h"
#include "base/time.h"
#include "mem/mapped_array.h"

namespace tidegate::io {

class TimerWheel {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  TimerWheel(uint32_t capacity, base::Duration granularity, base::Instant start);

  // Sets the timer of `index`; moves it when it is already set. A time that is past is due at the
  // next advance; never() unsets it.
  void schedule(uint32_t index, base::Instant due);
  void cancel(uint32_t index);  // no effect when not set
  bool scheduled(uint32_t index) const { return nodes_[index].list != kIdle; }
  uint32_t count() const { return count_; }

  // Calls on_due(index) for every timer due at `now`, at most `limit` of them; the rest stay due.
  // The timer is no longer set when called; on_due may schedule and cancel any timer. A timer it
  // schedules for a time already past comes with the next advance. Returns the number called.
  template <class OnDue>
  uint32_t advance(base::Instant now, OnDue&& on_due, uint32_t limit = UINT32_MAX) {
    turn_to(now);
    uint32_t called = 0;
    while (called < limit) {
      const uint32_t index = take_due();
      if (index == kNone) break;
      ++called;
      on_due(index);
    }
    return called;
  }

  // Never later than the earliest timer; may be earlier when that is far away. never() when empty.
  base::Instant next_deadline() const;

 private:
  static constexpr uint32_t kLevels = 6;
  static constexpr uint32_t kBuckets = 64;
  static constexpr uint64_t kDueMax = (uint64_t{1} << 54) - 1;
  static constexpr uint16_t kIdle = 0;                      // of Node::list
  static constexpr uint16_t kDueList = kLevels * kBuckets;  // due, to be handed out now
  static constexpr uint16_t kLateList = kDueList + 1;       // due at the next advance

  struct Node {          // all zero: not set
    uint64_t due : 54;   // step number
    uint64_t list : 10;  // 1 + (level * 64 + bucket, or a list above), or kIdle
    uint32_t next;
    uint32_t previous;
  };
  static_assert(sizeof(Node) == 16 && kLateList + 1 < 1 << 10);

  void turn_to(base::Instant now);
  uint32_t take_due();
  void place(uint32_t index);
  void link(uint32_t index, uint16_t bucket);
  void unlink(uint32_t index);
  // The next step at which a bucket is to be emptied, UINT64_MAX without one.
  uint64_t next_step(uint32_t* level_out, uint32_t* bucket_out) const;
  uint64_t step_at_or_after(base::Instant t) const;

  mem::MappedArray<Node> nodes_;
  uint32_t capacity_;
  int64_t granularity_ns_;
  int64_t start_ns_;
  uint64_t step_ = 0;  // steps up to and including this one are due
  uint32_t count_ = 0;
  uint32_t heads_[kLevels * kBuckets + 2];
  uint64_t occupied_[kLevels] = {};
};

}  // namespace tidegate::io
