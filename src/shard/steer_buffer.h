// SPDX-License-Identifier: Apache-2.0
// The samples of one player's PLAYER_STEER between their arrival and the tick that applies them.
// One is taken each tick, so that a network that bunches messages moves nobody in jumps. Each tick
// that lacks one makes the buffer a sample deeper; while more wait than are ever needed, now and
// then two are taken. A client that knows its network says how deep it should be: the next stretch
// begins so much later, and so many are left to wait. A client cannot move faster by sending more:
// samples beyond one a tick are paid with ticks that had none. Thread: shard. Owner: value;
// all-zero bytes are an empty one. Limits: kSteerBuffered samples, further ones are refused.
#pragma once

#include <cstdint>

#include "wire/steer.h"

namespace tidegate::shard {

inline constexpr uint32_t kSteerBuffered = 128;

struct SteerInput {
  uint32_t client_tick;
  wire::SteerSample sample;
};

class SteerBuffer {
 public:
  enum class Put : uint8_t {
    kOk,
    kOld,   // had it already: clients may repeat themselves
    kFull,  // more than one a tick, for long
  };
  Put put(uint32_t client_tick, const wire::SteerSample& sample);

  // The client wants so many samples to wait; `delay_most` as in tick().
  void want(uint32_t ticks, uint32_t delay_most);

  // A server tick: how many samples it applies, 0 to 2, which pop() then gives. `delay_most`: depth
  // beyond which it is not allowed to learn, in ticks.
  uint32_t tick(uint32_t delay_most);
  SteerInput pop();

  uint32_t waiting() const { return count_; }
  uint32_t delay() const { return delay_; }  // learned, in ticks
  // The last tick() had to do without a sample that should have been there.
  bool starved() const { return starved_; }
  // Neither a sample waits nor is one expected.
  bool idle() const { return count_ == 0 && !streaming_; }

  // What an upgrade carries beside the samples that wait (handover.h): without it a client that
  // repeats itself would be moved twice, and its word on the network would be forgotten, which it
  // does not say again.
  struct Saved {
    uint32_t last_tick;
    uint16_t credit;
    uint8_t delay, hold, wanted;
    bool known, streaming;
  };
  Saved save() const;
  // After the samples were put in.
  void restore(const Saved& from, uint32_t delay_most);

 private:
  static constexpr uint32_t kWindowTicks = 2048;  // depth is looked at over so many
  static constexpr uint32_t kDriftTicks = 256;    // clocks differ by less than one tick in them
  static constexpr uint32_t kShrinkEvery = 8;     // ticks between two that take two
  static constexpr uint32_t kCreditMost = 120;    // samples that may be made up for
  static constexpr uint32_t kSilentTicks = 64;    // then nothing is expected any more

  SteerInput ring_[kSteerBuffered];
  uint32_t last_tick_;  // newest taken in
  uint32_t clock_;
  uint16_t low_;      // fewest that waited in this window, plus 1; 0: not known yet
  uint16_t surplus_;  // to be worked off
  uint16_t credit_;   // ticks that had no sample
  uint16_t missed_;   // of them in a row
  uint8_t first_, count_;
  uint8_t delay_, hold_;
  uint8_t wanted_;  // by the client
  bool known_;      // last_tick_ holds one
  bool streaming_;  // one sample a tick is expected
  bool starved_;
};

}  // namespace tidegate::shard
