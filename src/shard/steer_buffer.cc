// SPDX-License-Identifier: Apache-2.0
#include "shard/steer_buffer.h"

#include <algorithm>

#include "base/assert.h"

namespace tidegate::shard {

SteerBuffer::Put SteerBuffer::put(uint32_t client_tick, const wire::SteerSample& sample) {
  if (known_ && static_cast<int32_t>(client_tick - last_tick_) <= 0) return Put::kOld;
  if (count_ == kSteerBuffered) return Put::kFull;
  // What a player learned of the network holds for the next stretch too.
  if (count_ == 0 && !streaming_) hold_ = std::max(delay_, wanted_);
  ring_[(first_ + count_) % kSteerBuffered] = {client_tick, sample};
  ++count_;
  last_tick_ = client_tick;
  known_ = true;
  return Put::kOk;
}

void SteerBuffer::want(uint32_t ticks, uint32_t delay_most) {
  wanted_ = static_cast<uint8_t>(std::min({ticks, delay_most, kSteerBuffered / 2}));
}

SteerBuffer::Saved SteerBuffer::save() const {
  return {last_tick_, credit_, delay_, hold_, wanted_, known_, streaming_};
}

void SteerBuffer::restore(const Saved& from, uint32_t delay_most) {
  if (!from.known) return;
  const auto bounded = [&](uint8_t ticks) {
    return static_cast<uint8_t>(std::min({uint32_t{ticks}, delay_most, kSteerBuffered / 2}));
  };
  // The newest that waits is the newest that came.
  if (count_ == 0) last_tick_ = from.last_tick;
  known_ = true;
  credit_ = std::min<uint16_t>(from.credit, kCreditMost);
  delay_ = bounded(from.delay);
  hold_ = bounded(from.hold);
  wanted_ = bounded(from.wanted);
  streaming_ = from.streaming;
}

uint32_t SteerBuffer::tick(uint32_t delay_most) {
  ++clock_;
  starved_ = false;
  if (clock_ % kDriftTicks == 0 && credit_ < kCreditMost) ++credit_;
  if (!streaming_) {
    if (count_ == 0) return 0;
    if (hold_ > 0) {
      --hold_;
      if (credit_ < kCreditMost) ++credit_;
      return 0;
    }
    streaming_ = true;
    low_ = 0;
    surplus_ = 0;
  }
  if (count_ == 0) {
    starved_ = true;
    surplus_ = 0;
    low_ = 1;
    if (credit_ < kCreditMost) ++credit_;
    if (delay_ < std::min(delay_most, kSteerBuffered / 2)) ++delay_;
    if (++missed_ == kSilentTicks) {
      streaming_ = false;
      missed_ = 0;
    }
    return 0;
  }
  missed_ = 0;
  const auto left = static_cast<uint16_t>(count_ - 1);
  low_ = low_ == 0 ? static_cast<uint16_t>(left + 1)
                   : std::min<uint16_t>(low_, static_cast<uint16_t>(left + 1));
  if (clock_ % kWindowTicks == 0) {
    // One sample is kept in hand, or as many as the client wants. Half of the rest goes: what comes
    // once in a while comes again.
    const uint32_t kept = std::max<uint32_t>(wanted_, 1);
    surplus_ = low_ > kept + 1 ? static_cast<uint16_t>((low_ - kept) / 2) : uint16_t{0};
    low_ = 0;
  }
  const bool deep = count_ > std::max(delay_most, 1U);
  if (left == 0 || credit_ == 0 || !(deep || (surplus_ > 0 && clock_ % kShrinkEvery == 0)))
    return 1;
  --credit_;
  if (surplus_ > 0) --surplus_;
  if (delay_ > 0) --delay_;
  return 2;
}

SteerInput SteerBuffer::pop() {
  TG_ASSERT(count_ > 0);
  const SteerInput input = ring_[first_];
  first_ = static_cast<uint8_t>((first_ + 1) % kSteerBuffered);
  --count_;
  // Who stands still need not go on saying so.
  if (count_ == 0 && input.sample.still()) streaming_ = false;
  return input;
}

}  // namespace tidegate::shard
