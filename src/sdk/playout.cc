// SPDX-License-Identifier: Apache-2.0
#include "sdk/playout.h"

#include <algorithm>
#include <cmath>

namespace tidegate::sdk {

namespace {

constexpr double kBaseWindowMs = 10'000;
constexpr double kMeasureMs = 100;
constexpr double kJumpMs = 1000;   // further off the shown time is set, not steered
constexpr double kLagRate = 0.25;  // how much slower or faster one entity may be shown
constexpr double kPi = 3.14159265358979323846;

}  // namespace

double PlayoutClock::delay_ms() const {
  return std::isnan(shown_) ? wanted_ : last_now_ - base_ - shown_ * tick_ms;
}

void PlayoutClock::reset() {
  late_count_ = at_ = 0;
  base_ = next_base_ = std::numeric_limits<double>::infinity();
  last_tick_ = 0;
  gap_ = 1;
  shown_ = std::numeric_limits<double>::quiet_NaN();
}

void PlayoutClock::on_tick(uint32_t tick, double now_ms) {
  if (tick <= last_tick_) return;
  if (last_tick_ != 0) gap_ += (std::min(30.0, static_cast<double>(tick - last_tick_)) - gap_) / 16;
  last_tick_ = tick;
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
  if (now_ms - measured_ > kMeasureMs) {
    measured_ = now_ms;
    measure();
  }
}

void PlayoutClock::measure() {
  double sorted[kArrivals];
  std::copy(late_, late_ + late_count_, sorted);
  const auto rank =
      std::min(late_count_ - 1,
               static_cast<uint32_t>(static_cast<double>(late_count_) * options_.percentile));
  std::nth_element(sorted, sorted + rank, sorted + late_count_);
  wanted_ = std::min(options_.most_ms,
                     std::max(options_.least_ms, sorted[rank] + (gap_ + 0.5) * tick_ms));
}

double PlayoutClock::shown_tick(double now_ms) {
  if (std::isinf(base_)) return std::numeric_limits<double>::quiet_NaN();
  const double goal = (now_ms - base_ - wanted_) / tick_ms;
  const double step = (now_ms - last_now_) / tick_ms;
  const double error = goal - (shown_ + step);
  if (std::isnan(shown_) || std::fabs(error) * tick_ms > kJumpMs) {
    shown_ = goal;
  } else {
    const double most = step * options_.rate;
    shown_ += step + std::max(-most, std::min(most, error));
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

Pose Track::sample(double shown, double world_gap) {
  const double aim = std::max(0.0, gap_ - world_gap);
  const double most = std::max(0.0, shown - last_shown_) * kLagRate;
  lag_ = std::isnan(lag_) ? aim : lag_ + std::max(-most, std::min(most, aim - lag_));
  last_shown_ = shown;
  const double tick = shown - lag_;
  uint32_t newer = head_;
  uint32_t older = head_;
  for (uint32_t i = 0; i < count_; ++i) {
    older = (head_ + kSamples - i) % kSamples;
    if (ticks_[older] <= tick) break;
    newer = older;
  }
  const Pose& a = poses_[older];
  const Pose& b = poses_[newer];
  const double span = ticks_[newer] - ticks_[older];
  const double part = span > 0 ? std::max(0.0, std::min(1.0, (tick - ticks_[older]) / span)) : 1.0;
  Pose out;
  out.x = a.x + (b.x - a.x) * part;
  out.y = a.y + (b.y - a.y) * part;
  out.z = a.z + (b.z - a.z) * part;
  double turn = b.yaw - a.yaw;
  if (turn > kPi) {
    turn -= 2 * kPi;
  } else if (turn < -kPi) {
    turn += 2 * kPi;
  }
  out.yaw = a.yaw + turn * part;
  return out;
}

}  // namespace tidegate::sdk
