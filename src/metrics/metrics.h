// SPDX-License-Identifier: Apache-2.0
// One block of counters for each agent, written by its thread with plain adds and read by any. No
// line is shared between writers.
// Thread: one writes a block, any reads. Owner: server. Limits: metrics_table.h.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/time.h"
#include "metrics/histogram.h"
#include "metrics/metrics_table.h"

namespace tidegate::metrics {

class alignas(64) Counters {
 public:
  void add(Counter c, uint64_t n) { bump(counters_[static_cast<uint32_t>(c)], n); }
  void subtract(Counter c, uint64_t n) { bump(counters_[static_cast<uint32_t>(c)], 0 - n); }
  // For counts kept elsewhere: sets the value, which must not fall.
  void set(Counter c, uint64_t n) {
    counters_[static_cast<uint32_t>(c)].store(n, std::memory_order_relaxed);
  }
  void set(Gauge g, uint64_t n) {
    gauges_[static_cast<uint32_t>(g)].store(n, std::memory_order_relaxed);
  }
  // Values at and above the limit share the last one.
  void add(Family f, uint32_t value) {
    bump(families_[static_cast<uint32_t>(f)]
                  [value < kFamilyValuesMax ? value : kFamilyValuesMax - 1],
         1);
  }
  void record(Timing t, base::Duration d) {
    timings_[static_cast<uint32_t>(t)].record(d.ns > 0 ? static_cast<uint64_t>(d.ns) : 0);
  }

  uint64_t get(Counter c) const { return read(counters_[static_cast<uint32_t>(c)]); }
  uint64_t get(Gauge g) const { return read(gauges_[static_cast<uint32_t>(g)]); }
  uint64_t get(Family f, uint32_t v) const { return read(families_[static_cast<uint32_t>(f)][v]); }
  const Histogram& timing(Timing t) const { return timings_[static_cast<uint32_t>(t)]; }

 private:
  static void bump(std::atomic<uint64_t>& v, uint64_t by) {
    v.store(v.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }
  static uint64_t read(const std::atomic<uint64_t>& v) { return v.load(std::memory_order_relaxed); }

  std::atomic<uint64_t> counters_[static_cast<uint32_t>(Counter::kCount)] = {};
  std::atomic<uint64_t> gauges_[static_cast<uint32_t>(Gauge::kCount)] = {};
  std::atomic<uint64_t> families_[static_cast<uint32_t>(Family::kCount)][kFamilyValuesMax] = {};
  Histogram timings_[static_cast<uint32_t>(Timing::kCount)];
};

}  // namespace tidegate::metrics
