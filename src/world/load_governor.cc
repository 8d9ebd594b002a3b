// SPDX-License-Identifier: Apache-2.0
#include "world/load_governor.h"

#include <algorithm>

namespace tidegate::world {
namespace {

constexpr uint32_t kKeyframeBytesMin = 1 << 20;
constexpr uint32_t kKeyframeBytesFirst = 16 << 20;
constexpr uint32_t kKeyframeBytesMax = 64 << 20;
constexpr uint32_t kMeanTicks = 32;
constexpr uint64_t kShareMax = 8;  // of periods that one tick counts: one long pause is no load

}  // namespace

LoadGovernor::LoadGovernor(uint32_t tick_rate, bool adaptive)
    : period_ns_(1'000'000'000 / tick_rate),
      second_ticks_(tick_rate),
      adaptive_(adaptive),
      keyframe_bytes_(kKeyframeBytesFirst) {}

void LoadGovernor::note(base::Duration work, uint64_t keyframe_bytes) {
  const uint64_t share = std::min(static_cast<uint64_t>(std::max<int64_t>(0, work.ns)) * kOne /
                                      static_cast<uint64_t>(period_ns_),
                                  kShareMax * kOne);
  load_ = static_cast<uint32_t>((uint64_t{load_} * (kMeanTicks - 1) + share) / kMeanTicks);
  // Only a tick in which keyframes were a large part of what was allowed says anything of them. One
  // long tick is caught up with (tick_barrier.h): what counts is the mean, and that none is too
  // long.
  if (keyframe_bytes >= keyframe_bytes_ / 4 * 3) {
    if (load_ > kOne / 4 * 3 || share > 4 * kOne) {
      keyframe_bytes_ = std::max(keyframe_bytes_ / 4 * 3, kKeyframeBytesMin);
    } else {
      keyframe_bytes_ = std::min(keyframe_bytes_ / 2 * 3, kKeyframeBytesMax);
    }
  }
  ++since_;
  ++rested_;
  if (!adaptive_) return;
  if (load_ > kOne / 10 * 4) rested_ = 0;
  // Half the frames are taken for half the load; the mean must have seen what it is.
  if (load_ > kOne / 10 * 9 && since_ >= 2 * kMeanTicks && ceiling_ != 0) {
    --ceiling_;
    ++lowered_;
    load_ /= 2;
    since_ = rested_ = 0;
  } else if (ceiling_ != kFullLevel && rested_ >= 2 * second_ticks_) {
    ++ceiling_;
    since_ = rested_ = 0;
  }
}

}  // namespace tidegate::world
