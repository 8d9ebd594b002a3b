// SPDX-License-Identifier: Apache-2.0
#include "sdk/steer_lead.h"

#include <algorithm>
#include <cmath>

namespace tidegate::sdk {

namespace {

constexpr uint32_t kStatesLeast = 32;  // fewer say nothing of a network
constexpr uint32_t kTripsLeast = 4;
constexpr double kStallRoundTrips = 1.25;  // what one lost packet costs
constexpr double kFadeMsPerSecond = 3;     // of what was seen once and not again
constexpr double kLookMs = 1000;
constexpr double kPace = 1.0 / 8;  // how much faster than time
constexpr uint32_t kMargin = 2;    // ticks below the server's limit, where it takes two at a time

}  // namespace

void SteerLead::set_server(uint32_t ticks_most, double tick_ms) {
  most_ = ticks_most > kMargin ? ticks_most - kMargin : 0;
  if (tick_ms > 0) tick_ms_ = tick_ms;
  told_ = 0;
  trips_ = 0;
  end_stretch();
}

void SteerLead::end_stretch() {
  high_ = 0;
  since_ = quiet_until_ = owed_ = 0;
}

void SteerLead::on_network(uint32_t states, double late_p95_ms, double late_most_ms, double rtt_ms,
                           double now_ms) {
  if (states < kStatesLeast) return;
  double seen = late_most_ms;
  // Where stalls are that frequent, one comes within another before long.
  if (late_most_ms > rtt_ms && late_p95_ms > late_most_ms / 2) seen = 2 * late_most_ms;
  if (!judged_) {
    judged_ = true;
    wanted_at_ = now_ms;
    // An uneven network loses packets too, most likely: what the first one costs is known.
    if (late_p95_ms > tick_ms_ / 2) {
      seen = std::max(seen, late_most_ms + kStallRoundTrips * rtt_ms);
    }
  }
  wanted_ms_ = std::max(seen, wanted_ms_ - (now_ms - wanted_at_) * kFadeMsPerSecond / 1000);
  wanted_at_ = now_ms;
}

void SteerLead::on_round_trip(double ms, double unsure_ms, double now_ms) {
  if (judged_) return;
  const double least = ms - unsure_ms;
  shortest_ = trips_ == 0 ? ms : std::min(shortest_, ms);
  longest_ = trips_ == 0 ? least : std::max(longest_, least);
  const double late = longest_ - shortest_;
  // As with the first states: who is uneven loses packets too.
  if (++trips_ < kTripsLeast || late <= tick_ms_ / 2) return;
  wanted_ms_ = std::max(late + kStallRoundTrips * shortest_,
                        wanted_ms_ - (now_ms - wanted_at_) * kFadeMsPerSecond / 1000);
  wanted_at_ = now_ms;
}

uint32_t SteerLead::wanted_ticks() const {
  return std::min(most_, static_cast<uint32_t>(std::ceil(wanted_ms_ / tick_ms_)));
}

void SteerLead::on_buffered(uint32_t waiting, double now_ms) {
  if (most_ == 0 || now_ms < quiet_until_) return;
  if (since_ == 0) since_ = now_ms;
  high_ = std::max(high_, waiting);
  if (now_ms - since_ < kLookMs) return;
  const uint32_t wanted = wanted_ticks();
  if (high_ < wanted) {
    owed_ = static_cast<double>(wanted - high_);
    quiet_until_ = now_ms + owed_ * tick_ms_ / kPace + kLookMs;
  }
  high_ = 0;
  since_ = 0;
}

double SteerLead::more(double dt) {
  if (owed_ <= 0) return 0;
  const double more = std::min(dt * kPace, owed_ * tick_ms_ / 1000);
  owed_ = std::max(0.0, owed_ - more * 1000 / tick_ms_);
  return more;
}

uint32_t SteerLead::tell() {
  const uint32_t wanted = wanted_ticks();
  if (wanted == told_ || wanted == 0) return 0;
  told_ = wanted;
  return wanted;
}

}  // namespace tidegate::sdk
