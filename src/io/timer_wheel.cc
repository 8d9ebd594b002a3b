// SPDX-License-Identifier: Apache-2.0
// A timer's level is the highest base-64 digit in which its step differs from the current one, so
// every bucket of a lower level is due before any of a higher one and the first occupied bitmap
// tells the next step at which there is something to do.
#include "io/timer_wheel.h"

#include <algorithm>

namespace tidegate::io {

TimerWheel::TimerWheel(uint32_t capacity, base::Duration granularity, base::Instant start)
    : nodes_(capacity), capacity_(capacity), granularity_ns_(granularity.ns), start_ns_(start.ns) {
  TG_ASSERT(granularity.ns > 0);
  for (uint32_t& head : heads_) head = kNone;
}

uint64_t TimerWheel::step_at_or_after(base::Instant t) const {
  if (t.ns <= start_ns_) return 0;
  const uint64_t elapsed = static_cast<uint64_t>(t.ns - start_ns_);
  const uint64_t step = static_cast<uint64_t>(granularity_ns_);
  return elapsed / step + (elapsed % step != 0);
}

void TimerWheel::schedule(uint32_t index, base::Instant due) {
  TG_ASSERT(index < capacity_);
  cancel(index);
  if (due == base::Instant::never()) return;
  ++count_;
  nodes_[index].due = std::min(step_at_or_after(due), kDueMax);
  place(index);
}

void TimerWheel::cancel(uint32_t index) {
  TG_ASSERT(index < capacity_);
  if (!scheduled(index)) return;
  unlink(index);
  --count_;
}

void TimerWheel::place(uint32_t index) {
  constexpr uint64_t kTopShift = 6 * (kLevels - 1);
  uint64_t due = nodes_[index].due;
  if (due <= step_) {
    link(index, kLateList);
    return;
  }
  uint32_t level = static_cast<uint32_t>(63 - std::countl_zero(due ^ step_)) / 6;
  if (level >= kLevels) {
    // The top level wraps round; what is even further away stops at its last bucket and is placed
    // again from there.
    level = kLevels - 1;
    const uint64_t last = ((step_ >> kTopShift) + kBuckets - 1) << kTopShift;
    if (due > last) due = last;
  }
  const uint32_t bucket = static_cast<uint32_t>(due >> (6 * level)) & (kBuckets - 1);
  link(index, static_cast<uint16_t>(level * kBuckets + bucket));
}

void TimerWheel::link(uint32_t index, uint16_t bucket) {
  Node& node = nodes_[index];
  node.list = bucket + 1U;
  node.previous = kNone;
  node.next = heads_[bucket];
  if (node.next != kNone) nodes_[node.next].previous = index;
  heads_[bucket] = index;
  if (bucket < kDueList) occupied_[bucket / kBuckets] |= uint64_t{1} << (bucket % kBuckets);
}

void TimerWheel::unlink(uint32_t index) {
  Node& node = nodes_[index];
  const auto bucket = static_cast<uint16_t>(node.list - 1);
  if (node.previous != kNone) {
    nodes_[node.previous].next = node.next;
  } else {
    heads_[bucket] = node.next;
    if (node.next == kNone && bucket < kDueList) {
      occupied_[bucket / kBuckets] &= ~(uint64_t{1} << (bucket % kBuckets));
    }
  }
  if (node.next != kNone) nodes_[node.next].previous = node.previous;
  node.list = kIdle;
}

uint64_t TimerWheel::next_step(uint32_t* level_out, uint32_t* bucket_out) const {
  for (uint32_t level = 0; level < kLevels; ++level) {
    if (occupied_[level] == 0) continue;
    const uint32_t shift = 6 * level;
    const uint64_t position = step_ >> shift;
    const int first = static_cast<int>(position & (kBuckets - 1));
    const auto ahead = static_cast<uint32_t>(std::countr_zero(std::rotr(occupied_[level], first)));
    *level_out = level;
    *bucket_out = (static_cast<uint32_t>(first) + ahead) & (kBuckets - 1);
    return (position + ahead) << shift;
  }
  return UINT64_MAX;
}

void TimerWheel::turn_to(base::Instant now) {
  while (heads_[kLateList] != kNone) {
    const uint32_t index = heads_[kLateList];
    unlink(index);
    link(index, kDueList);
  }
  if (now.ns < start_ns_) return;
  const uint64_t target =
      static_cast<uint64_t>(now.ns - start_ns_) / static_cast<uint64_t>(granularity_ns_);
  uint32_t level = 0;
  uint32_t bucket = 0;
  for (uint64_t step = next_step(&level, &bucket); step <= target && step != UINT64_MAX;
       step = next_step(&level, &bucket)) {
    step_ = step;
    const auto list = static_cast<uint16_t>(level * kBuckets + bucket);
    while (heads_[list] != kNone) {
      const uint32_t index = heads_[list];
      unlink(index);
      if (nodes_[index].due <= step_) {
        link(index, kDueList);
      } else {
        place(index);
      }
    }
  }
  if (target > step_) step_ = target;
}

uint32_t TimerWheel::take_due() {
  const uint32_t index = heads_[kDueList];
  if (index == kNone) return kNone;
  unlink(index);
  --count_;
  return index;
}

base::Instant TimerWheel::next_deadline() const {
  if (count_ == 0) return base::Instant::never();
  uint64_t step = step_;
  if (heads_[kDueList] == kNone && heads_[kLateList] == kNone) {
    uint32_t level = 0;
    uint32_t bucket = 0;
    step = next_step(&level, &bucket);
  }
  const uint64_t furthest = static_cast<uint64_t>(INT64_MAX - (start_ns_ > 0 ? start_ns_ : 0)) /
                            static_cast<uint64_t>(granularity_ns_);
  if (step >= furthest) return base::Instant::never();
  return {start_ns_ + static_cast<int64_t>(step) * granularity_ns_};
}

}  // namespace tidegate::io
