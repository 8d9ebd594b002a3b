// SPDX-License-Identifier: Apache-2.0
#include "sdk/steering.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tidegate::sdk {

namespace {

int8_t deflection(double v) {
  return static_cast<int8_t>(std::lround(std::clamp(v, -1.0, 1.0) * wire::kSteerFull));
}

}  // namespace

wire::SteerSample steer_sample(const Vec& direction, double yaw, uint32_t flags) {
  wire::SteerSample sample;
  const double length =
      std::sqrt(direction.x * direction.x + direction.y * direction.y + direction.z * direction.z);
  const double scale = length > 1 ? 1 / length : 1;
  sample.direction[0] = deflection(direction.x * scale);
  sample.direction[1] = deflection(direction.y * scale);
  sample.direction[2] = deflection(direction.z * scale);
  sample.yaw = static_cast<uint8_t>(std::llround(yaw * (128 / std::numbers::pi)));
  sample.flags = flags;
  return sample;
}

void Steering::reset() {
  time_ = 0;
  last_ = {};
  stood_ = true;
  before_ = {};
  if (lead_ != nullptr) lead_->end_stretch();
}

uint32_t Steering::advance(const wire::SteerSample& sample, double dt, Prediction* prediction,
                           uint32_t* first_tick) {
  // One sample says that the player stands, and how; then there is nothing to tell.
  if (sample.still() && stood_ && sample == before_) {
    time_ = 0;
    last_ = {};
    return 0;
  }
  if (lead_ != nullptr && !sample.still()) dt += lead_->more(dt);
  time_ = std::min(time_ + dt, 0.25);
  uint32_t count = 0;
  MoveInput input;
  input.steered = true;
  input.sample = sample;
  while (time_ >= step_ && count < kStepsMost) {
    time_ -= step_;
    const Vec from = prediction->position();
    const Vec to = prediction->apply(input);
    last_ = {to.x - from.x, to.y - from.y, to.z - from.z};
    if (count++ == 0) *first_tick = prediction->client_tick();
    before_ = sample;
    stood_ = sample.still();
    if (!stood_) continue;
    if (lead_ != nullptr) lead_->end_stretch();
    break;
  }
  return count;
}

Vec Steering::step(const Vec& at, const MoveInput& input) const {
  const std::array<int32_t, 3> moved = wire::steer_steps(input.sample, input.tick, speed_);
  const auto go = [this](double from, int32_t steps) {
    return static_cast<double>(std::llround(from / position_step_) + steps) * position_step_;
  };
  const Vec to{go(at.x, moved[0]), go(at.y, moved[1]), go(at.z, moved[2])};
  if (limit_ == nullptr) return to;
  const double from[3] = {at.x, at.y, at.z};
  const double wanted[3] = {to.x, to.y, to.z};
  double out[3] = {to.x, to.y, to.z};
  limit_(limit_user_, from, wanted, out);
  return {out[0], out[1], out[2]};
}

Vec Steering::ahead() const {
  if (step_ <= 0 || stood_) return {};
  const double share = 1 - std::min(1.0, time_ / step_);
  return {last_.x * share, last_.y * share, last_.z * share};
}

}  // namespace tidegate::sdk
