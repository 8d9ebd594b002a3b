// SPDX-License-Identifier: Apache-2.0
#include "metrics/histogram.h"

namespace tidegate::metrics {

void Histogram::merge(const Histogram& other) {
  for (uint32_t i = 0; i < kBuckets; ++i) bump(buckets_[i], other.bucket(i));
  bump(sum_, other.sum());
}

void Histogram::clear() {
  for (auto& bucket : buckets_) bucket.store(0, std::memory_order_relaxed);
  sum_.store(0, std::memory_order_relaxed);
}

uint64_t Histogram::count() const {
  uint64_t total = 0;
  for (uint32_t i = 0; i < kBuckets; ++i) total += bucket(i);
  return total;
}

uint64_t Histogram::percentile(double quantile) const {
  const uint64_t total = count();
  if (total == 0) return 0;
  const double wanted = quantile * static_cast<double>(total);
  uint64_t seen = 0;
  for (uint32_t i = 0; i < kBuckets; ++i) {
    seen += bucket(i);
    if (static_cast<double>(seen) >= wanted && seen != 0) return upper_edge(i);
  }
  return upper_edge(kBuckets - 1);
}

}  // namespace tidegate::metrics
