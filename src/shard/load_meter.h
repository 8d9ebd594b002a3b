// SPDX-License-Identifier: Apache-2.0
// What a shard's ticks cost between two reports: the medians of the work that goes with its cells
// (simulate, encode) and of the sends. Medians, because a tick in which the thread was not running
// says nothing about the load.
// Thread: shard. Owner: Shard. Limits: kSamples ticks, the newest.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.h"

namespace tidegate::shard {

class LoadMeter {
 public:
  static constexpr uint32_t kSamples = 128;

  void note(base::Duration world, base::Duration flush) {
    world_[next_ % kSamples] = clip(world);
    flush_[next_ % kSamples] = clip(flush);
    ++next_;
  }
  // ns; forgets the samples. 0 without any.
  void take(uint32_t* world_ns, uint32_t* flush_ns) {
    const uint32_t n = std::min(next_, kSamples);
    *world_ns = median(world_, n);
    *flush_ns = median(flush_, n);
    next_ = 0;
  }

 private:
  static uint32_t clip(base::Duration d) {
    return static_cast<uint32_t>(std::clamp<int64_t>(d.ns, 0, UINT32_MAX));
  }
  static uint32_t median(uint32_t* samples, uint32_t n) {
    if (n == 0) return 0;
    std::nth_element(samples, samples + n / 2, samples + n);
    return samples[n / 2];
  }

  uint32_t world_[kSamples] = {};
  uint32_t flush_[kSamples] = {};
  uint32_t next_ = 0;
};

}  // namespace tidegate::shard
