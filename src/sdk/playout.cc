// SPDX-License-Identifier: Apache-2.0
#include "sdk/playout.h"

#include <algorithm>
#include <cmath>

namespace tidegate::sdk {

namespace {

constexpr double kBaseWindowMs = 10'000;
constexpr double kJumpMs = 1000;    // further off the shown time is set, not steered
constexpr double kSlowRate = 0.25;  // of the shown time that is ahead of what can be known
constexpr double kLagRate = 0.25;   // how much slower or faster one entity may be shown
constexpr double kPi = 3.14159265358979323846;
constexpr double kSnapMetres = 8;  // further off it is shown at its place at once
constexpr double kSettled = 0.001;
constexpr double kAheadMs = 250;  // nobody is shown further ahead of its newest state
constexpr double kSettleMs = 100;
constexpr double kGoalMs = 150;  // of a delay above it, up to the next is left to extrapolation
constexpr double kLeftToPaceMs = 130;
constexpr uint32_t kPaceStates = 3;

double short_way(double turn) {
  if (turn > kPi) return turn - 2 * kPi;
  if (turn < -kPi) return turn + 2 * kPi;
  return turn;
}

}  // namespace

double PlayoutClock::delay_ms() const {
  return std::isnan(shown_) ? wanted_ : last_now_ - base_ - shown_ * tick_ms;
}

Horizon PlayoutClock::horizon() const {
  return {gap_, static_cast<double>(last_tick_), kAheadMs / tick_ms, kSettleMs / tick_ms};
}

void PlayoutClock::reset() {
  late_count_ = at_ = 0;
  base_ = next_base_ = std::numeric_limits<double>::infinity();
  last_tick_ = 0;
  gap_ = 1;
  shown_ = std::numeric_limits<double>::quiet_NaN();
}

bool PlayoutClock::on_tick(uint32_t tick, double now_ms) {
  if (tick <= last_tick_) return false;
  if (last_tick_ != 0) gap_ += (std::min(30.0, static_cast<double>(tick - last_tick_)) - gap_) / 16;
  last_tick_ = tick;
  last_arrival_ = now_ms;
  const double when = now_ms - static_cast<double>(tick) * tick_ms;
  if (now_ms - base_since_ > kBaseWindowMs) {
    base_ = next_base_;
    next_base_ = when;
    base_since_ = now_ms;
  }
  next_base_ = std::min(next_base_, when);
  if (std::isinf(base_)) {
    base_ = when;
    base_since_ = now_ms;
  }
  base_ = std::min(base_, when);
  late_[at_] = when - base_;
  at_ = (at_ + 1) % kArrivals;
  late_count_ = std::min(late_count_ + 1, kArrivals);
  if (now_ms - measured_ <= options_.measure_ms) return false;
  measured_ = now_ms;
  measure();
  return true;
}

void PlayoutClock::measure() {
  double sorted[kArrivals] = {};
  std::copy(late_, late_ + late_count_, sorted);
  const auto rank =
      std::min(late_count_ - 1,
               static_cast<uint32_t>(static_cast<double>(late_count_) * options_.percentile));
  std::nth_element(sorted, sorted + rank, sorted + late_count_);
  late_rank_ = sorted[rank];
  late_most_ = *std::max_element(sorted + rank, sorted + late_count_);
  double wanted = late_rank_ + (gap_ + 0.5) * tick_ms;
  // Between more delay and a little extrapolation, players prefer the latter.
  if (wanted > kGoalMs) wanted = std::max(kGoalMs, wanted - kLeftToPaceMs);
  wanted_ = std::min(options_.most_ms, std::max(options_.least_ms, wanted));
}

double PlayoutClock::shown_tick(double now_ms) {
  if (std::isinf(base_)) return std::numeric_limits<double>::quiet_NaN();
  const double goal = (now_ms - base_ - wanted_) / tick_ms;
  const double step = (now_ms - last_now_) / tick_ms;
  const double error = goal - (shown_ + step);
  const double before = shown_;
  if (std::isnan(shown_) || std::fabs(error) * tick_ms > kJumpMs) {
    shown_ = goal;
  } else {
    const double most = step * options_.rate;
    shown_ += step + std::max(-most, std::min(most, error));
  }
  // A server that ticks more slowly than it says is not in a stall: who is ahead of its newest
  // state by more than has passed since that came goes on slowly.
  const double known = static_cast<double>(last_tick_) + (now_ms - last_arrival_) / tick_ms;
  if (shown_ > known) {
    shown_ =
        std::isnan(before) ? known : std::max(known, std::min(shown_, before + step * kSlowRate));
  }
  last_now_ = now_ms;
  if (shown_ > static_cast<double>(last_tick_) + 0.5) ++starved_;
  return shown_;
}

void Track::push(uint32_t tick, const Pose& pose) {
  const double now = static_cast<double>(tick);
  const double last = count_ == 0 ? -1 : ticks_[head_];
  if (now < last) return;
  if (now > last && count_ > 0) {
    const double gap = now - last;
    // It stood still for a while: it began to move one update ago, not when it was last heard of.
    if (gap > 4 * gap_ + 6) {
      put(now - gap_, poses_[head_]);
    } else {
      gap_ += (gap - gap_) / 8;
    }
  }
  if (now == last) {
    poses_[head_] = pose;
  } else {
    put(now, pose);
  }
}

void Track::put(double tick, const Pose& pose) {
  const Pose copy = pose;  // it may be the one that is written over
  head_ = (head_ + 1) % kSamples;
  count_ = std::min(kSamples, count_ + 1);
  ticks_[head_] = tick;
  poses_[head_] = copy;
}

// By state alone. An entity stands behind its newest state when the world has been heard of since
// and would have named it.
Pose Track::at(double tick, double ahead_most, double newest) {
  uint32_t newer = head_;
  uint32_t older = head_;
  for (uint32_t i = 0; i < count_; ++i) {
    older = (head_ + kSamples - i) % kSamples;
    if (ticks_[older] <= tick) break;
    newer = older;
  }
  const Pose& b = poses_[newer];
  ahead_ = 0;
  if (older == head_ && count_ > 1 && tick > ticks_[head_] &&
      newest - ticks_[head_] < gap_ - 0.25) {
    // Its pace over several states: places on the wire are steps.
    older = (head_ + kSamples - std::min(count_ - 1, kPaceStates)) % kSamples;
    const Pose& a = poses_[older];
    ahead_ = std::min(tick - ticks_[head_], ahead_most);
    const double part = ahead_ / (ticks_[head_] - ticks_[older]);
    return {b.x + (b.x - a.x) * part, b.y + (b.y - a.y) * part, b.z + (b.z - a.z) * part, b.yaw};
  }
  const Pose& a = poses_[older];
  const double span = ticks_[newer] - ticks_[older];
  const double part = span > 0 ? std::max(0.0, std::min(1.0, (tick - ticks_[older]) / span)) : 1.0;
  return {a.x + (b.x - a.x) * part, a.y + (b.y - a.y) * part, a.z + (b.z - a.z) * part,
          a.yaw + short_way(b.yaw - a.yaw) * part};
}

Pose Track::sample(double shown, const Horizon& horizon) {
  const double aim = std::max(0.0, gap_ - horizon.gap);
  const double passed = std::max(0.0, shown - last_shown_);
  const double most = passed * kLagRate;
  const double before = last_shown_ - lag_;
  const bool was_ahead = ahead_ > 0;
  lag_ = std::isnan(lag_) ? aim : lag_ + std::max(-most, std::min(most, aim - lag_));
  last_shown_ = shown;
  if (was_ahead) {
    // If more is known now, what was shown is off by so much.
    const Pose known = at(before, horizon.ahead_most, horizon.newest);
    off_ = {last_.x - known.x, last_.y - known.y, last_.z - known.z,
            short_way(last_.yaw - known.yaw)};
    settling_ = std::fabs(off_.x) + std::fabs(off_.y) + std::fabs(off_.z) < kSnapMetres;
  }
  Pose out = at(shown - lag_, horizon.ahead_most, horizon.newest);
  if (settling_) {
    const double left = horizon.settle / (horizon.settle + passed);
    off_ = {off_.x * left, off_.y * left, off_.z * left, off_.yaw * left};
    out = {out.x + off_.x, out.y + off_.y, out.z + off_.z, out.yaw + off_.yaw};
    settling_ =
        std::fabs(off_.x) + std::fabs(off_.y) + std::fabs(off_.z) + std::fabs(off_.yaw) > kSettled;
  }
  last_ = out;
  return out;
}

}  // namespace tidegate::sdk
