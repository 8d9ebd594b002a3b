// SPDX-License-Identifier: Apache-2.0
// Log-linear histogram of nanoseconds (or any positive count): four buckets for each power of two,
// so a percentile is at most 25 % above the truth. One writer; readers see each bucket whole.
// Thread: one writes, any reads. Owner: value. Limits: 0 to 2^40, larger counts in the last bucket.
#pragma once

#include <atomic>
#include <cstdint>

namespace tidegate::metrics {

class Histogram {
 public:
  static constexpr uint32_t kBuckets = 160;

  void record(uint64_t value) {
    bump(buckets_[bucket_of(value)], 1);
    bump(sum_, value);
  }
  void merge(const Histogram& other);
  void clear();

  uint64_t count() const;
  uint64_t sum() const { return sum_.load(std::memory_order_relaxed); }
  uint64_t bucket(uint32_t i) const { return buckets_[i].load(std::memory_order_relaxed); }
  // Upper edge of the bucket in which the share `quantile` (0..1) of the values is reached.
  uint64_t percentile(double quantile) const;

  static uint32_t bucket_of(uint64_t value) {
    if (value < 4) return static_cast<uint32_t>(value);
    const uint32_t log = 63 - static_cast<uint32_t>(__builtin_clzll(value));
    const uint32_t index = (log - 1) * 4 + static_cast<uint32_t>(value >> (log - 2) & 3);
    return index < kBuckets ? index : kBuckets - 1;
  }
  // Largest value of bucket i.
  static uint64_t upper_edge(uint32_t i) {
    if (i < 4) return i;
    const uint32_t log = i / 4 + 1;
    return ((uint64_t{4} + i % 4 + 1) << (log - 2)) - 1;
  }

 private:
  // A plain add: there is one writer, relaxed loads and stores keep readers from tearing.
  static void bump(std::atomic<uint64_t>& v, uint64_t by) {
    v.store(v.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }
  std::atomic<uint64_t> buckets_[kBuckets] = {};
  std::atomic<uint64_t> sum_{0};
};

}  // namespace tidegate::metrics
