// SPDX-License-Identifier: Apache-2.0
// Keeps the shards of a process on one tick without waiting: a pure state machine that says which
// phase of the tick may run next, from the marks that came from the other shards.
//
//   idle --due--> simulate --all SimulationDone--> encode --all FrameDone--> flush --> idle, next
//   tick
//
// In a tick in which cells changed their owner (FrameDone says so) the next one begins only when
// everybody has flushed it, MovesTaken: then all agree on who owns what.
//
// A shard is never more than one phase ahead of another, so everything posted before a mark is
// there when the phase behind that mark runs: an entity leaves one cell and enters another in the
// same tick, results do not depend on the number of shards, and the bytes published in one tick
// may be overwritten when the next tick is encoded. docs/decisions/0002-tick-barrier.md.
//
// Thread: shard. Owner: Shard. Limits: 64 shards.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/assert.h"
#include "base/time.h"

namespace tidegate::shard {

class TickBarrier {
 public:
  enum class Phase : uint8_t { kIdle, kSimulated, kEncoded };
  static constexpr int kCatchUpTicks = 6;  // 100 ms at 60 ticks a second

  TickBarrier(uint32_t shard_count, base::Duration period, base::Instant first_due)
      : shard_count_(shard_count), period_(period), due_(first_due) {}

  // Goes on where another process stopped. Before the first tick.
  void restore(uint32_t tick, base::Instant due) {
    tick_ = tick;
    due_ = due;
  }

  // The tick that runs now or is due next; the first is 1.
  uint32_t tick() const { return tick_; }
  Phase phase() const { return phase_; }
  base::Instant due() const { return due_; }
  // Ticks whose start came more than a period late on some shard.
  uint64_t late() const { return late_; }

  // When this shard has to be awake for the barrier's sake; the other phases begin by a wake.
  base::Instant deadline() const {
    return phase_ == Phase::kIdle && !moves_open() ? due_ : base::Instant::never();
  }

  bool simulate_due(base::Instant now) const {
    return phase_ == Phase::kIdle && now >= due_ && !moves_open();
  }
  void simulated() {
    TG_ASSERT(phase_ == Phase::kIdle && !moves_open());
    phase_ = Phase::kSimulated;
    if (moves_) taken_ = 0;
    moves_ = false;
  }

  bool encode_due() const {
    return phase_ == Phase::kSimulated && marks_[tick_ & 1].simulated == shard_count_;
  }
  void encoded() {
    TG_ASSERT(encode_due());
    phase_ = Phase::kEncoded;
  }

  bool flush_due() const {
    return phase_ == Phase::kEncoded && marks_[tick_ & 1].encoded == shard_count_;
  }
  // Ends the tick and sets the next due time: one period on, so that ticks behind a long one follow
  // each other at once, or, when a shard began later than those could catch up, one period after
  // that beginning. All shards compute the same value.
  void flushed() {
    TG_ASSERT(flush_due());
    Marks& marks = marks_[tick_ & 1];
    moves_ = marks.cells_moved != 0;
    base::Instant next = due_ + period_;
    if (marks.started > next) ++late_;
    if (marks.started > due_ + period_ * kCatchUpTicks) next = marks.started + period_;
    marks = Marks{};
    due_ = next;
    ++tick_;
    phase_ = Phase::kIdle;
  }

  void on_simulation_done(uint32_t tick, base::Instant started) {
    TG_ASSERT(tick == tick_ || tick == tick_ + 1);
    Marks& marks = marks_[tick & 1];
    ++marks.simulated;
    marks.started = std::max(marks.started, started);
  }
  void on_frame_done(uint32_t tick, uint32_t cells_moved = 0) {
    TG_ASSERT(tick == tick_);
    ++marks_[tick & 1].encoded;
    marks_[tick & 1].cells_moved += cells_moved;
  }
  // Whether cells moved in the tick that was flushed last: MovesTaken is to be posted.
  bool cells_moved() const { return phase_ == Phase::kIdle && moves_; }
  void on_moves_taken(uint32_t tick) {
    TG_ASSERT(tick + 1 == tick_ || tick == tick_);
    ++taken_;
  }

 private:
  struct Marks {
    uint32_t simulated = 0;
    uint32_t encoded = 0;
    uint32_t cells_moved = 0;
    base::Instant started{INT64_MIN};
  };

  bool moves_open() const { return moves_ && taken_ != shard_count_; }

  uint32_t shard_count_;
  uint32_t taken_ = 0;  // MovesTaken of the tick before, or of this one by those ahead
  bool moves_ = false;  // cells moved in the tick before
  uint32_t tick_ = 1;
  Phase phase_ = Phase::kIdle;
  base::Duration period_;
  base::Instant due_;
  Marks marks_[2];
  uint64_t late_ = 0;
};

}  // namespace tidegate::shard
