// SPDX-License-Identifier: Apache-2.0
// What one watcher may be sent, in two answers for each tick: how many bytes (a token bucket of one
// second), and how much of the world at most (a rung of the ladder for slow readers). Both follow
// the rate that was configured or asked for, and what its queue tells: the bytes that wait in front
// of the transport and their age. While the queue is busy, what leaves it is the rate of the link,
// and the bucket is filled a little slower than that; when it is empty, the rate rises again.
// It chooses nothing and sends nothing; interest.h spends the bytes.
// Thread: shard. Owner: InterestTable holds one for each watcher. Limits: BudgetConfig.
#pragma once

#include <algorithm>
#include <cstdint>

namespace tidegate::world {

struct BudgetConfig {
  uint32_t bytes_per_second = 48 * 1024;       // of a client that asks for nothing
  uint32_t bytes_per_second_max = 256 * 1024;  // the most that a client gets by asking
  uint32_t queue_bytes = 64 * 1024;            // may wait; never more than a second of the budget
  uint32_t stall_ms = 10'000;                  // without a byte leaving the queue: the end
};

// From each rung only what stands there is left out in addition to the rungs above.
enum class Rung : uint8_t {
  kAll,
  kNoLayer3,  // cells come at half rate at most
  kNoLayer2,  // ... at a quarter
  kNear,      // far cells are dropped, and the client is told
  kOwnOnly,   // nothing of the world: own state and events
  kEnd,       // the connection is closed with 1013
  kCount,
};
const char* name_of(Rung rung);

// What waits in front of a watcher's transport.
struct QueueSample {
  uint32_t now_ms = 0;   // any clock, may wrap
  uint32_t sent = 0;     // bytes that have left since the beginning, may wrap
  uint32_t waiting = 0;  // bytes that have not
};

inline constexpr uint32_t kBudgetRateMin = 2048;  // bytes a second that any client is given

class Budget {
 public:
  // `asked`: bytes a second, 0: the configured rate.
  void start(const BudgetConfig& config, uint32_t asked);
  // Once in each tick, before what is sent in it.
  Rung update(const BudgetConfig& config, const QueueSample& sample);
  // `must`: of the bytes, frames that may not be left out (not keyframes: they come when there is
  // room).
  void spend(uint32_t bytes, uint32_t must);
  // Notes that of what was spent so much was no delta of the world. Rates: bytes a second, the mean
  // of some.
  void note_answer(uint32_t bytes) { answers_ += bytes; }  // and headers
  void note_keyframe(uint32_t bytes) { keyframes_ += bytes; }
  // Bytes a second that are to come in any case from now on: what the plan holds, and answers.
  void expect(uint32_t rate) { expected_ = rate; }
  uint32_t answer_rate() const { return answer_rate_; }
  uint32_t keyframe_rate() const { return keyframe_rate_; }

  Rung rung() const { return rung_; }
  // Bytes that optional frames may take now. Below 0: what had to be sent was more than the rate.
  int32_t tokens() const { return tokens_; }
  // Bytes that may be put into the queue in this tick at all.
  uint32_t room() const { return room_; }
  // The same, but never so many that the second that ends now would have more than the rate, with
  // the next tick's frames that may not be left out: what a full bucket holds goes out over a
  // second, not on top of one.
  int32_t allowance() const;
  // The most that frames which may not be left out took in a tick, lately.
  uint32_t peak() const { return std::max(peak_, peak_before_); }
  uint32_t rate() const { return rate_; }  // bytes a second, now
  bool idle() const { return !busy_; }     // nothing waits
  // To the last rung but one at once: what had to be sent did not find room.
  void hold();
  // For a second there was nothing left for optional frames. Asking begins a new second.
  bool overdrawn();

 private:
  static constexpr uint32_t kSlots = 41;  // a second and the slot under way
  static constexpr uint32_t kSlotMs = 25;
  static constexpr uint32_t kUnit = 16;  // bytes, of slots_
  static constexpr uint32_t kPeakMs = 250;
  static constexpr uint32_t kOtherMs = 1000;

  void measure(const QueueSample& sample);
  void turn_slots();
  uint32_t fullest_to_come() const;
  uint32_t last_second() const { return second_ * kUnit + spent_; }  // bytes spent

  uint32_t rate_max_ = 0;  // bytes a second
  uint32_t rate_ = 0;
  int32_t tokens_ = 0;  // at most a second of rate_
  uint32_t room_ = 0;
  uint32_t at_ms_ = 0;          // last update
  uint32_t positive_ms_ = 0;    // when tokens were last above 0
  uint32_t rung_ms_ = 0;        // when the rung was entered, or its cause last seen
  uint32_t mark_ms_ = 0;        // when the byte at mark_ came into the queue
  uint32_t mark_ = 0;           // place in the stream of bytes, as QueueSample::sent counts
  uint32_t moved_ms_ = 0;       // when the queue was last empty, or a byte left it
  uint32_t sent_ = 0;           // at the last update
  uint32_t measured_ms_ = 0;    // when the measurement under way began
  uint32_t measured_from_ = 0;  // sent then
  uint32_t slot_ms_ = 0;        // when the slot under way began
  uint32_t spent_ = 0;          // in the slot under way, and less than a unit of those before it
  uint32_t second_ = 0;         // sum of slots_
  uint32_t answers_ = 0;        // since other_ms_
  uint32_t keyframes_ = 0;      // ... of keyframes
  uint32_t other_ms_ = 0;
  uint32_t answer_rate_ = 0;
  uint32_t keyframe_rate_ = 0;
  uint32_t expected_ = 0;     // bytes a second, in any case
  uint32_t must_ = 0;         // in this tick
  uint32_t peak_ = 0;         // most of must_ since peak_ms_
  uint32_t peak_before_ = 0;  // ... and in the time before
  uint32_t peak_ms_ = 0;
  uint16_t slots_[kSlots] = {};  // spent in each, a ring
  uint8_t slot_ = 0;             // under way
  Rung rung_ = Rung::kAll;
  bool started_ = false;  // at_ms_ is set
  bool busy_ = false;     // the queue was not empty at the last update
};
static_assert(sizeof(Budget) <= 192, "part of a watcher's row");

}  // namespace tidegate::world
