// SPDX-License-Identifier: Apache-2.0
#include "sdk/prediction.h"

#include <algorithm>
#include <cmath>

#include "base/assert.h"

namespace tidegate::sdk {

namespace {

Vec minus(const Vec& a, const Vec& b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
double length(const Vec& v) { return std::sqrt(v.x * v.x + v.y * v.y + v.z * v.z); }

}  // namespace

Vec walk(void* /*user*/, const Vec& at, const MoveInput& input) {
  return {at.x + input.velocity.x * input.dt, at.y + input.velocity.y * input.dt,
          at.z + input.velocity.z * input.dt};
}

void Prediction::reset(const Vec& place) {
  count_ = 0;
  placed_ = true;
  predicted_ = held_ = place;
  offset_ = {};
}

const Vec& Prediction::apply(const MoveInput& input) {
  TG_ASSERT(placed_);
  MoveInput numbered = input;
  numbered.tick = ++tick_;
  predicted_ = options_.step(options_.user, predicted_, numbered);
  if (count_ == kPendingMost) {
    first_ = (first_ + 1) % kPendingMost;
    --count_;
  }
  ring_[(first_ + count_) % kPendingMost] = numbered;
  ++count_;
  return predicted_;
}

void Prediction::on_ack(const Ack& ack, double now_ms) {
  if (!ack.has_position) return;
  ++stats_.acks;
  held_ = ack.position;
  if (!placed_) {
    placed_ = true;
    predicted_ = ack.position;
    return;
  }
  // Ticks wrap: behind is what lies ahead by less than half of them.
  while (count_ > 0 && static_cast<int32_t>(ring_[first_].tick - ack.client_tick) <= 0) {
    first_ = (first_ + 1) % kPendingMost;
    --count_;
  }
  Vec again = ack.position;
  for (uint32_t i = 0; i < count_; ++i) {
    again = options_.step(options_.user, again, ring_[(first_ + i) % kPendingMost]);
  }
  const double size = length(minus(predicted_, again));
  stats_.last_error = size;
  if (ack.corrected) {
    ++stats_.refused;
    stats_.last_reason = ack.reason;
  }
  if (size <= options_.tolerance) return;
  ++stats_.corrections;
  const Vec before = shown(now_ms);
  predicted_ = again;
  walk_off(before, now_ms);
}

void Prediction::on_server_place(const Vec& place, double now_ms) {
  held_ = place;
  if (!placed_ || count_ > 0) return;
  if (length(minus(predicted_, place)) <= options_.tolerance) return;
  const Vec before = shown(now_ms);
  predicted_ = place;
  walk_off(before, now_ms);
}

void Prediction::walk_off(const Vec& shown, double now_ms) {
  const Vec offset = minus(shown, predicted_);
  offset_ = length(offset) > options_.snap ? Vec{} : offset;
  offset_at_ = now_ms;
}

Vec Prediction::shown(double now_ms) const {
  const double share = std::exp(-std::max(0.0, now_ms - offset_at_) / options_.smooth_ms);
  return {predicted_.x + offset_.x * share, predicted_.y + offset_.y * share,
          predicted_.z + offset_.z * share};
}

double Prediction::smoothing(double now_ms) const {
  return length(offset_) * std::exp(-std::max(0.0, now_ms - offset_at_) / options_.smooth_ms);
}

}  // namespace tidegate::sdk
