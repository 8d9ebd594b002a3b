// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "base/prng.h"
#include "metrics/exposition.h"

namespace tidegate::metrics {
namespace {

TEST(Histogram, EdgesMatchBuckets) {
  for (uint32_t i = 0; i + 1 < Histogram::kBuckets; ++i) {
    const uint64_t edge = Histogram::upper_edge(i);
    EXPECT_EQ(Histogram::bucket_of(edge), i);
    EXPECT_EQ(Histogram::bucket_of(edge + 1), i + 1);
  }
}

TEST(Histogram, PercentilesAreAtMostAQuarterAbove) {
  Histogram h;
  for (uint64_t v = 1; v <= 100000; ++v) h.record(v);
  for (double q : {0.5, 0.9, 0.99, 0.999}) {
    const double truth = q * 100000;
    EXPECT_GE(static_cast<double>(h.percentile(q)), truth * 0.999);
    EXPECT_LE(static_cast<double>(h.percentile(q)), truth * 1.26);
  }
  EXPECT_EQ(h.count(), 100000u);
  Histogram sum;
  sum.merge(h);
  sum.merge(h);
  EXPECT_EQ(sum.count(), 200000u);
  EXPECT_EQ(sum.percentile(0.5), h.percentile(0.5));
}

TEST(Histogram, HugeValuesLandInTheLastBucket) {
  EXPECT_EQ(Histogram::bucket_of(UINT64_MAX), Histogram::kBuckets - 1);
}

const char* reason(uint32_t v) {
  constexpr const char* kNames[] = {"one", "two"};
  return v < 2 ? kNames[v] : nullptr;
}

TEST(Exposition, EveryLineIsWellFormedAndFamiliesAppearOnce) {
  Counters a;
  Counters b;
  a.add(Counter::kSends, 5);
  b.add(Counter::kSends, 7);
  a.add(Family::kCloses, 1);
  a.record(Timing::kTurn, base::microseconds(100));
  Labels labels;
  labels.of[static_cast<uint32_t>(Family::kCloses)] = reason;
  const Block blocks[] = {{"0", &a}, {"1", &b}};
  const std::string text = to_text(blocks, labels);
  EXPECT_NE(text.find("tidegate_sends_total{shard=\"0\"} 5\n"), std::string::npos);
  EXPECT_NE(text.find("tidegate_sends_total{shard=\"1\"} 7\n"), std::string::npos);
  EXPECT_NE(text.find("tidegate_connections_closed_total{shard=\"0\",reason=\"two\"} 1\n"),
            std::string::npos);
  EXPECT_NE(text.find("tidegate_turn_seconds_count{shard=\"0\"} 1\n"), std::string::npos);
  EXPECT_NE(text.find("tidegate_turn_seconds_sum{shard=\"0\"} 0.000100000\n"), std::string::npos);
  std::set<std::string> types;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    ASSERT_FALSE(line.empty());
    if (line.rfind("# TYPE ", 0) == 0) {
      EXPECT_TRUE(types.insert(line).second) << line;
    }
  }
}

TEST(Exposition, HistogramBucketsAreCumulative) {
  Counters a;
  base::Prng prng(1);
  for (int i = 0; i < 1000; ++i) {
    a.record(Timing::kFlush, base::nanoseconds(static_cast<int64_t>(prng.below(1u << 30))));
  }
  const Block blocks[] = {{"0", &a}};
  std::istringstream lines(to_text(blocks, Labels{}));
  uint64_t last = 0;
  int seen = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("tidegate_tick_flush_seconds_bucket", 0) != 0) continue;
    const uint64_t v = std::stoull(line.substr(line.rfind(' ') + 1));
    EXPECT_GE(v, last);
    last = v;
    ++seen;
  }
  EXPECT_EQ(last, 1000u);
  EXPECT_GT(seen, 20);
}

}  // namespace
}  // namespace tidegate::metrics
