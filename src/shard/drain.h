// SPDX-License-Identifier: Apache-2.0
// How far a shard's connections should have been closed at a moment of a drain: none in the grace,
// then evenly over the spread, all at the deadline. Pure arithmetic; shard/drain.cc does what it
// says. Thread: shard. Owner: Shard. Limits: kReconnectUrlMax.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.h"

namespace tidegate::shard {

inline constexpr uint32_t kReconnectUrlMax = 256;

struct DrainPlan {
  base::Instant close_from{};
  base::Duration spread{};
  base::Instant deadline{};
  uint32_t retry_after_ms = 0;
  uint32_t total = 0;   // connections there were when closing began
  uint32_t closed = 0;  // of them, so far
  uint32_t cursor = 0;  // next slot to look at
  bool counted = false;
  uint16_t url_bytes = 0;
  char url[kReconnectUrlMax] = {};

  // How many of `total` should be closed at `now`.
  uint32_t target(base::Instant now) const {
    if (now < close_from && now < deadline) return 0;
    if (now >= deadline || spread.ns <= 0 || now - close_from >= spread) return total;
    // The first at once, the last at the end of the spread.
    const double part = static_cast<double>((now - close_from).ns) / static_cast<double>(spread.ns);
    return std::min(total, 1 + static_cast<uint32_t>(part * static_cast<double>(total)));
  }
};

}  // namespace tidegate::shard
