// SPDX-License-Identifier: Apache-2.0
#include "sdk/simulator.h"

#include <algorithm>

namespace tidegate::sdk {

namespace {

struct Preset {
  const char* name;
  Conditions conditions;
};
constexpr Preset kPresets[] = {
    {"local", {0, 0, 0, 0}},
    {"fibre", {10, 2, 0, 0}},
    {"wifi", {25, 20, 0.005, 2'000'000}},
    {"mobile", {60, 40, 0.01, 500'000}},
    {"far", {140, 10, 0.002, 0}},
    {"train", {120, 150, 0.04, 120'000}},
};

}  // namespace

const Conditions* conditions_named(std::string_view name) {
  for (const Preset& p : kPresets) {
    if (name == p.name) return &p.conditions;
  }
  return nullptr;
}

#ifdef TIDEGATE_SIMULATOR

namespace {
// Without packets behind it a lost one waits for the sender's timer: two round trips, and no less
// than this.
constexpr double kTimerLeastMs = 200;
constexpr double kLossMost = 0.9;
}  // namespace

double Lane::arrival(const Conditions& c, size_t bytes, double now_ms, base::Prng& random) {
  double at = now_ms;
  if (c.bandwidth > 0) {
    free_at_ = std::max(free_at_, now_ms) + static_cast<double>(bytes) * 1000 / c.bandwidth;
    at = free_at_;
  }
  at += c.latency_ms + random.unit() * c.jitter_ms;
  const double lost = std::min(c.loss, kLossMost);
  if (lost > 0) {
    // The next one (as far behind as this one is behind the last) tells the sender a round trip
    // later; it gives late ones a quarter of that more.
    const double round_trip = 2 * c.latency_ms + c.jitter_ms;
    const double stall =
        std::min(std::max(kTimerLeastMs, 2 * round_trip), now_ms - sent_at_ + 1.25 * round_trip);
    sent_at_ = now_ms;
    while (random.unit() < lost) at += stall;
  }
  // In order: what comes behind a late one is as late.
  last_at_ = std::max(last_at_, at);
  return last_at_;
}

void Lane::put(base::Bytes bytes, double at_ms) {
  chunks_.push_back({at_ms, 0, {bytes.begin(), bytes.end()}});
}

base::MutableBytes Lane::front(double now_ms) {
  if (chunks_.empty() || chunks_.front().at_ms > now_ms) return {};
  Chunk& chunk = chunks_.front();
  return base::MutableBytes(chunk.bytes).subspan(chunk.taken);
}

void Lane::pop(size_t bytes) {
  Chunk& chunk = chunks_.front();
  chunk.taken += bytes;
  if (chunk.taken == chunk.bytes.size()) chunks_.pop_front();
}

void Lane::clear() {
  chunks_.clear();
  free_at_ = last_at_ = sent_at_ = 0;
}

base::Instant Simulator::next_due() const {
  double at = 1e300;
  if (!out.empty()) at = std::min(at, out.next_ms());
  if (!in.empty()) at = std::min(at, in.next_ms());
  return at >= 1e300 ? base::Instant::never() : base::Instant{static_cast<int64_t>(at * 1e6) + 1};
}

#endif

}  // namespace tidegate::sdk
