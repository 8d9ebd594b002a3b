// SPDX-License-Identifier: Apache-2.0
// What both sides of an upgrade say about time.
// Thread: any. Owner: none. Limits: none.
#pragma once

#include <cstdio>
#include <ctime>
#include <string>

#include "base/time.h"

namespace tidegate::server {

inline base::Instant upgrade_now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return {int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec};
}

inline std::string millis(base::Duration d) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f ms", static_cast<double>(d.ns) / 1e6);
  return text;
}

}  // namespace tidegate::server
