// SPDX-License-Identifier: Apache-2.0
// What a shard does when its ticks take too long, in two answers for each tick: how many bytes of
// keyframes may go to clients that join a cell (others wait for a later anchor), and the highest
// level (layers.h) that any client has. Both follow the mean share of its period that a tick took
// over half a second. Keyframes are fewer while that is above three quarters, or one tick took four
// periods. Above nine tenths all clients go down a level, which halves the frames that are sent;
// below four tenths, for two seconds, they come up again, one level at a time.
// docs/decisions/0010-load-governor.md.
// Thread: shard. Owner: Shard. Limits: none.
#pragma once

#include <cstdint>

#include "base/time.h"
#include "world/layers.h"

namespace tidegate::world {

class LoadGovernor {
 public:
  // Not `adaptive`: the level is never lowered; keyframes are paced all the same.
  LoadGovernor(uint32_t tick_rate, bool adaptive);

  // After each tick: how long the shard worked for it, and the keyframes that it sent.
  void note(base::Duration work, uint64_t keyframe_bytes);

  uint32_t keyframe_bytes() const { return keyframe_bytes_; }
  uint8_t ceiling() const { return ceiling_; }
  uint64_t lowered() const { return lowered_; }  // times

 private:
  static constexpr uint32_t kOne = 1 << 16;  // a whole period, in what load_ counts

  int64_t period_ns_;
  uint32_t second_ticks_;
  bool adaptive_;
  uint8_t ceiling_ = kFullLevel;
  uint32_t keyframe_bytes_;
  uint32_t load_ = 0;    // mean share of the period
  uint32_t rested_ = 0;  // ticks since the ceiling changed, or since load_ was too high to raise it
  uint32_t since_ = 0;   // ticks since the ceiling changed
  uint64_t lowered_ = 0;
};

}  // namespace tidegate::world
