// SPDX-License-Identifier: Apache-2.0
// Connections that wait to enter the world, first come first served: so many a second, evenly, so
// that those inside keep their ticks while thousands log in at once. The rate is a virtual schedule
// (GCRA, ITU-T I.371): each join moves the time of the next one on by a second's share.
// Thread: shard. Owner: Shard. Limits: each slot waits once.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/assert.h"
#include "base/time.h"
#include "mem/mapped_array.h"

namespace tidegate::shard {

class JoinQueue {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  // `burst`: what may be made up for after a pause, and go at once in one turn.
  JoinQueue(uint32_t slots, uint32_t per_second, base::Duration burst)
      : burst_(burst), links_(slots) {
    set_rate(per_second);
  }

  // 1 at least.
  void set_rate(uint32_t per_second) {
    TG_ASSERT(per_second != 0);
    interval_ = base::nanoseconds(1'000'000'000 / per_second);
  }

  void push(uint32_t slot) {
    links_[slot] = {last_, kNone};
    (last_ == kNone ? first_ : links_[last_].next) = slot;
    last_ = slot;
    ++waiting_;
  }

  // `slot` waits.
  void remove(uint32_t slot) {
    const Link link = links_[slot];
    (link.before == kNone ? first_ : links_[link.before].next) = link.next;
    (link.next == kNone ? last_ : links_[link.next].before) = link.before;
    --waiting_;
  }

  // The one whose turn it is, which waits no longer; kNone: nobody waits, or it is too early.
  uint32_t take(base::Instant now) {
    if (first_ == kNone || next_ > now + burst_) return kNone;
    next_ = std::max(next_, now) + interval_;
    const uint32_t slot = first_;
    remove(slot);
    return slot;
  }

  uint32_t waiting() const { return waiting_; }

 private:
  struct Link {
    uint32_t before, next;
  };

  base::Duration interval_{};
  base::Duration burst_;
  base::Instant next_{};  // when the next one may go by the rate
  mem::MappedArray<Link> links_;
  uint32_t first_ = kNone, last_ = kNone;
  uint32_t waiting_ = 0;
};

}  // namespace tidegate::shard
