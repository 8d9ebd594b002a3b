// SPDX-License-Identifier: Apache-2.0
#include "sdk/clock.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tidegate::sdk {

double ClockSync::error_ms() const {
  return has_best_ ? best_.rtt / 2 : std::numeric_limits<double>::infinity();
}

int64_t ClockSync::request(double now_ms) {
  int64_t key = static_cast<int64_t>(std::floor(now_ms + 0.5));
  const auto taken = [this](int64_t k) {
    return std::any_of(requests_, requests_ + request_count_,
                       [k](const Request& r) { return r.key == k; });
  };
  while (taken(key)) ++key;
  // Answers that never came are forgotten, the oldest first.
  if (request_count_ == kSamples) {
    std::copy(requests_ + 1, requests_ + kSamples, requests_);
    --request_count_;
  }
  requests_[request_count_++] = {key, now_ms};
  return key;
}

bool ClockSync::answer(int64_t client_time, int64_t server_time, uint32_t server_tick,
                       double now_ms) {
  Request* const end = requests_ + request_count_;
  Request* const at =
      std::find_if(requests_, end, [=](const Request& r) { return r.key == client_time; });
  if (at == end) return false;
  const double sent = at->sent;
  std::copy(at + 1, end, at);
  --request_count_;
  const double rtt = std::max(0.0, now_ms - sent);
  round_trip(rtt);
  if (sample_count_ == kSamples) {
    std::copy(samples_ + 1, samples_ + kSamples, samples_);
    --sample_count_;
  }
  const double there = static_cast<double>(server_time);
  samples_[sample_count_++] = {rtt, there - (sent + rtt / 2), static_cast<double>(server_tick),
                               there};
  best_ = samples_[0];
  for (uint32_t i = 1; i < sample_count_; ++i) {
    if (samples_[i].rtt < best_.rtt) best_ = samples_[i];
  }
  has_best_ = true;
  return true;
}

void ClockSync::round_trip(double ms) {
  last_rtt_ = ms;
  if (rtt_ == 0) {
    rtt_ = ms;
    jitter_ = ms / 2;
    return;
  }
  jitter_ += (std::fabs(ms - rtt_) - jitter_) / 4;
  rtt_ += (ms - rtt_) / 8;
}

double ClockSync::server_time(double now_ms) const {
  return has_best_ ? now_ms + best_.offset : std::numeric_limits<double>::quiet_NaN();
}

double ClockSync::server_tick(double now_ms) const {
  if (!has_best_) return std::numeric_limits<double>::quiet_NaN();
  return best_.tick + (server_time(now_ms) - best_.server_time) * tick_rate / 1000;
}

void ClockSync::reset() {
  sample_count_ = request_count_ = 0;
  has_best_ = false;
  rtt_ = jitter_ = last_rtt_ = 0;
}

}  // namespace tidegate::sdk
