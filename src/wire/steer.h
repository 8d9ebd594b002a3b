// SPDX-License-Identifier: Apache-2.0
// Movement that the server simulates from a player's input: the samples of PLAYER_STEER and the one
// rule that server and clients apply to them, in integers, so that both come to the same place.
// docs/protocol.md, "Steering". Thread: any. Owner: values. Limits: kSteerSamplesMost in a message.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"

namespace tidegate::wire {

inline constexpr uint32_t kSteerSamplesMost = 128;
inline constexpr int32_t kSteerFull = 127;  // of a direction: full deflection

// What the player wants during one step of 1/tick_rate seconds.
struct SteerSample {
  int8_t direction[3] = {};  // x, y, z in 1/127 of the full speed; longer vectors are shortened
  uint8_t yaw = 0;           // wire/quantise.h
  uint32_t flags = 0;
  bool operator==(const SteerSample&) const = default;
  bool still() const { return direction[0] == 0 && direction[1] == 0 && direction[2] == 0; }
};

// Steps of position that the sample with this client tick moves. `speed`: 1/256 step a tick at full
// deflection, at most 65,535. What a tick leaves over, a later one makes up: n equal samples in a
// row go n times the speed, rounded once.
std::array<int32_t, 3> steer_steps(const SteerSample& sample, uint32_t client_tick, uint32_t speed);

// Runs of equal samples: varint count, direction, yaw, varint flags. Returns the bytes written; 0
// when `room` is too small.
uint32_t encode_steer_runs(base::MutableBytes out, const SteerSample* samples, uint32_t count);

class SteerRuns {
 public:
  explicit SteerRuns(base::Bytes bytes) : rest_(bytes) {}
  // The next sample. False at the end, and when the bytes are none.
  bool next(SteerSample* out);
  bool malformed() const { return malformed_; }

 private:
  base::Bytes rest_;
  SteerSample run_;
  uint32_t left_ = 0;
  uint32_t samples_ = 0;
  bool malformed_ = false;
};

}  // namespace tidegate::wire
