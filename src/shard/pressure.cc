// SPDX-License-Identifier: Apache-2.0
// What a client that reads slowly is still given. The world has its ladder (world/budget.h); this
// is the rule for all other messages without acknowledgement, by priority, while bytes wait for the
// connection:
//
//   of limits.backlog_bytes wait   priorities that still go out
//   nothing, up to a quarter       all
//   up to a half                   3 to 10
//   up to seven eighths            5 to 10 (5 is what has no priority of its own)
//   more                           9 and 10; beyond the limit the connection would be cut
//
// While nothing waits, what is written in one turn counts for the last row only: the socket may
// take all of it, or nothing.
//
// What does not go out is replaced by something newer (presence, positions of a party), taken from
// the topic's history later (EVENT), or dropped (messages of the game). Acknowledged messages wait
// in their session, answers and errors always go out.
#include "shard/shard.h"

namespace tidegate::shard {

using metrics::Gauge;

bool Shard::holds_back_now(uint32_t slot, uint32_t priority) const {
  const uint64_t behind = endpoint_.hot(slot).backlog_bytes;
  const uint64_t waits = behind + endpoint_.hot(slot).output_bytes;
  const uint64_t limit = config_.endpoint.backlog_bytes;
  const uint32_t lowest = waits * 4 <= limit       ? 0
                          : behind == 0            ? waits * 8 <= limit * 7 ? 0 : 9
                          : waits * 2 <= limit     ? 3
                          : waits * 8 <= limit * 7 ? 5
                                                   : 9;
  return priority < lowest;
}

uint32_t Shard::priority_of(uint32_t type) const {
  const uint32_t index =
      config_.handlers == nullptr ? HandlerTable::kNone : config_.handlers->find(type);
  return index == HandlerTable::kNone ? kPriorityPlain : config_.handlers->entry(index).priority;
}

// Clients on each rung of the ladder: a part of the slots in each tick, all of them in a second.
void Shard::count_rungs() {
  const uint32_t second = config_.world.tick_rate;
  const uint32_t part = barrier_.tick() % second;
  if (part == 0) {
    for (uint32_t r = 0; r < kRungs; ++r) {
      counters_.set(static_cast<Gauge>(static_cast<uint32_t>(Gauge::kClientsAll) + r), on_rung_[r]);
      on_rung_[r] = 0;
    }
    counters_.set(Gauge::kClientsHeldBack, held_back_);
    held_back_ = 0;
  }
  for (uint32_t slot = part; slot < players_end_; slot += second) {
    if (players_[slot].session == 0) continue;
    social_.look_again(slot);
    if (!interest_.watching(slot)) continue;
    const auto rung = static_cast<uint32_t>(interest_.rung(slot));
    if (rung < kRungs) ++on_rung_[rung];
    if (holds_back(slot, kPriorityPlain)) ++held_back_;
  }
}

}  // namespace tidegate::shard
