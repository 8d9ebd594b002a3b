// SPDX-License-Identifier: Apache-2.0
// How many users there were, and how they were shown: a sample each interval, the last ones kept,
// for whoever draws curves without a metrics store. It names nobody. Thread: sample() by control,
// json_blocking() by the admin server's threads. Owner: Server. Limits: kSamplesMax, or history_age
// / history_interval if that is less.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "base/time.h"

namespace tidegate::server {

struct PopulationSample {
  int64_t unix_ms = 0;
  uint64_t users = 0, online = 0, away = 0, busy = 0, invisible = 0;
  uint64_t players = 0;   // of the zone
  uint64_t entities = 0;  // likewise
};

class PopulationHistory {
 public:
  static constexpr uint32_t kSamplesMax = 100'000;

  // interval 0: none is kept.
  PopulationHistory(base::Duration interval, base::Duration age);

  // Whether the next one is due. Cheap.
  bool due(base::Instant now) const { return !ring_.empty() && now >= next_; }
  void sample(base::Instant now, const PopulationSample& s);
  // {"interval_ms": …, "samples": [{"time": …, "users": …}, …]}, oldest first.
  std::string json_blocking() const;

 private:
  base::Duration interval_;
  base::Instant next_{};  // control's

  mutable std::mutex mutex_;  // everything below
  std::vector<PopulationSample> ring_;
  size_t first_ = 0, count_ = 0;
};

}  // namespace tidegate::server
