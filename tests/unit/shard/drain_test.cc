// SPDX-License-Identifier: Apache-2.0
#include "shard/drain.h"

#include <gtest/gtest.h>

namespace tidegate::shard {
namespace {

base::Instant at(int64_t ms) { return {ms * 1'000'000}; }

DrainPlan plan(int64_t close_from_ms, int64_t spread_ms, int64_t deadline_ms, uint32_t total) {
  DrainPlan p;
  p.close_from = at(close_from_ms);
  p.spread = base::milliseconds(spread_ms);
  p.deadline = at(deadline_ms);
  p.total = total;
  return p;
}

TEST(DrainPlan, NobodyInTheGraceThenEvenlyThenAll) {
  const DrainPlan p = plan(1000, 10'000, 30'000, 100);
  EXPECT_EQ(p.target(at(0)), 0u);
  EXPECT_EQ(p.target(at(999)), 0u);
  EXPECT_EQ(p.target(at(1000)), 1u);
  EXPECT_EQ(p.target(at(3500)), 26u);
  EXPECT_EQ(p.target(at(6000)), 51u);
  EXPECT_EQ(p.target(at(10'999)), 100u);
  EXPECT_EQ(p.target(at(11'000)), 100u);
  uint32_t last = 0;
  for (int64_t ms = 1000; ms < 11'000; ms += 10) {
    const uint32_t now = p.target(at(ms));
    EXPECT_LE(now - last, 1u) << ms << ": a hundred over ten seconds go one by one";
    last = now;
  }
}

TEST(DrainPlan, TheDeadlineIsForAll) {
  EXPECT_EQ(plan(1000, 10'000, 2000, 100).target(at(2000)), 100u);
  EXPECT_EQ(plan(50'000, 0, 2000, 100).target(at(2000)), 100u);
  EXPECT_EQ(plan(0, 0, 0, 100).target(at(5)), 100u);
  EXPECT_EQ(plan(1000, 0, 9000, 100).target(at(1000)), 100u) << "no spread";
  EXPECT_EQ(plan(1000, 10, 9000, 0).target(at(1005)), 0u);
}

}  // namespace
}  // namespace tidegate::shard
