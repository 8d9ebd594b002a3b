// SPDX-License-Identifier: Apache-2.0
// Movement by input: PLAYER_STEER's samples wait with the connection and go to the entity's owner
// one a tick. steer_buffer.h says when; wire/steer.h what a sample moves.
#include <cstring>

#include "shard/shard.h"
#include "wire/messages.h"

namespace tidegate::shard {

using metrics::Counter;

Handled Shard::on_steer(uint32_t slot, const wire::PlayerSteer& message) {
  if (!players_[slot].entity.valid()) return Handled::kNotPermitted;  // the state has not begun
  wire::SteerSample sample;
  wire::SteerRuns check(message.samples);
  uint32_t count = 0;
  while (check.next(&sample)) ++count;
  if (check.malformed() || count == 0) return Handled::kInvalid;

  SteerBuffer& buffer = steer_[slot];
  if (buffer.idle() && !steer_listed_[slot]) {
    steer_listed_[slot] = true;
    steering_[steering_count_++] = slot;
  }
  if (message.wait != 0) buffer.want(message.wait, slice_.scale().steer_delay_ticks);
  wire::SteerRuns samples(message.samples);
  for (uint32_t tick = message.client_tick; samples.next(&sample); ++tick) {
    if (buffer.put(tick, sample) == SteerBuffer::Put::kFull) {
      counters_.add(Counter::kSteerRefused, 1);
    }
  }
  return Handled::kOk;
}

// Before the slice simulates: what is owned here moves in this tick.
void Shard::run_steering() {
  const uint32_t delay_most = slice_.scale().steer_delay_ticks;
  uint32_t kept = 0;
  for (uint32_t i = 0; i < steering_count_; ++i) {
    const uint32_t slot = steering_[i];
    SteerBuffer& buffer = steer_[slot];
    for (uint32_t n = buffer.tick(delay_most); n > 0; --n) {
      const SteerInput taken = buffer.pop();
      world::Input input{};
      input.has = world::Input::kSteer | world::Input::kYaw | world::Input::kFlags;
      input.client_tick = taken.client_tick;
      input.flags = taken.sample.flags;
      input.yaw = taken.sample.yaw;
      for (int axis = 0; axis < 3; ++axis) input.velocity[axis] = taken.sample.direction[axis];
      counters_.add(Counter::kSteerSteps, 1);
      post_input(players_[slot], input);
    }
    if (buffer.starved()) counters_.add(Counter::kSteerStarved, 1);
    if (buffer.idle()) {
      steer_listed_[slot] = false;
    } else {
      steering_[kept++] = slot;
    }
  }
  steering_count_ = kept;
}

void Shard::end_steering(uint32_t slot) {
  steer_[slot] = SteerBuffer{};
  if (!steer_listed_[slot]) return;
  steer_listed_[slot] = false;
  for (uint32_t i = 0; i < steering_count_; ++i) {
    if (steering_[i] != slot) continue;
    steering_[i] = steering_[--steering_count_];
    return;
  }
}

void Shard::post_input(const Player& player, const world::Input& input) {
  const base::Bytes bytes{reinterpret_cast<const uint8_t*>(&input), sizeof input};
  if (player.owner == config_.index && input.has & world::Input::kSteer) {
    take_input({player.entity, 0}, input, bytes);
    return;
  }
  // Inputs may be lost to a full ring: the client sends the next one anyway.
  if (!mailbox_.post(player.owner, mailbox::InputPosted{player.entity, 0}, bytes)) {
    counters_.add(Counter::kInputsDropped, 1);
  }
}

}  // namespace tidegate::shard
