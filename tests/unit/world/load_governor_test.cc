// SPDX-License-Identifier: Apache-2.0
#include "world/load_governor.h"

#include <gtest/gtest.h>

namespace tidegate::world {
namespace {

constexpr uint32_t kRate = 60;

base::Duration share(double of_the_period) {
  return base::nanoseconds(static_cast<int64_t>(of_the_period * 1e9 / kRate));
}

TEST(LoadGovernor, LeavesAnIdleShardAlone) {
  LoadGovernor governor(kRate, true);
  const uint32_t first = governor.keyframe_bytes();
  for (int i = 0; i < 10'000; ++i) governor.note(share(0.7), 1000);
  EXPECT_EQ(governor.ceiling(), kFullLevel);
  EXPECT_EQ(governor.keyframe_bytes(), first);
  EXPECT_EQ(governor.lowered(), 0u);
}

TEST(LoadGovernor, OneLongPauseIsNoLoad) {
  LoadGovernor governor(kRate, true);
  for (int i = 0; i < 600; ++i) governor.note(share(i == 300 ? 1000 : 0.1), 0);
  EXPECT_EQ(governor.ceiling(), kFullLevel);
}

TEST(LoadGovernor, GoesDownLevelByLevelUnderLoadAndComesUpAgainWhenItRests) {
  LoadGovernor governor(kRate, true);
  // Each level halves the work of a tick; 3.0 periods at full rate.
  const auto tick = [&](double full) {
    governor.note(share(full / (1 << (kFullLevel - governor.ceiling()))), 0);
  };
  for (uint32_t i = 0; i < 20 * kRate; ++i) tick(3.4);
  EXPECT_EQ(governor.ceiling(), 1);  // 0.85 of the period
  EXPECT_EQ(governor.lowered(), 2u);
  // Half of that load stays where it is: at the next level it might be too much again.
  for (uint32_t i = 0; i < 20 * kRate; ++i) tick(1.7);
  EXPECT_EQ(governor.ceiling(), 1);
  for (uint32_t i = 0; i < 20 * kRate; ++i) tick(0.2);
  EXPECT_EQ(governor.ceiling(), kFullLevel);
}

// Joins made it too much for a while; the full rate itself is not.
TEST(LoadGovernor, ComesBackWhereTheFullRateFits) {
  for (const double full : {0.5, 0.65, 0.75}) {
    LoadGovernor governor(kRate, true);
    for (uint32_t i = 0; i < 2 * kRate; ++i) governor.note(share(1.2), 0);
    EXPECT_LT(governor.ceiling(), kFullLevel);
    for (uint32_t i = 0; i < 20 * kRate; ++i) {
      governor.note(share(full / (1 << (kFullLevel - governor.ceiling()))), 0);
    }
    EXPECT_EQ(governor.ceiling(), kFullLevel) << full;
  }
}

TEST(LoadGovernor, DoesNotSwingBetweenTwoLevels) {
  for (const double full : {0.9, 1.3, 1.7, 2.5, 5.0, 9.0}) {
    LoadGovernor governor(kRate, true);
    uint32_t changes = 0;
    uint8_t before = governor.ceiling();
    for (uint32_t i = 0; i < 120 * kRate; ++i) {
      governor.note(share(full / (1 << (kFullLevel - governor.ceiling()))), 0);
      changes += governor.ceiling() != before;
      before = governor.ceiling();
    }
    EXPECT_LE(changes, 3u) << full;
  }
}

TEST(LoadGovernor, KeepsTheLevelWhenItIsToldTo) {
  LoadGovernor governor(kRate, false);
  for (int i = 0; i < 1000; ++i) governor.note(share(5), 0);
  EXPECT_EQ(governor.ceiling(), kFullLevel);
}

TEST(LoadGovernor, FindsTheKeyframesThatTicksCanTake) {
  LoadGovernor governor(kRate, false);
  // So many bytes take a period; one tick in eight has keyframes, and all that is allowed.
  for (const double bytes_in_period : {1e6, 9e6, 3e6}) {
    double load = 0;
    for (int i = 0; i < 3200; ++i) {
      const uint32_t bytes = i % 8 == 0 ? governor.keyframe_bytes() : 0;
      governor.note(share(0.1 + bytes / bytes_in_period), bytes);
      if (i >= 1600) load += (0.1 + bytes / bytes_in_period) / 1600;
    }
    EXPECT_GT(load, 0.4) << bytes_in_period;
    EXPECT_LT(load, 1.0) << bytes_in_period;
  }
  // However slow it is, some go out.
  for (int i = 0; i < 800; ++i) governor.note(share(50), governor.keyframe_bytes());
  EXPECT_GE(governor.keyframe_bytes(), 1u << 20);
}

// Ticks that take long for another reason must not starve those who join.
TEST(LoadGovernor, ABurstInSomeTicksLeavesRoomForKeyframes) {
  LoadGovernor governor(kRate, true);
  for (int i = 0; i < 3200; ++i) {
    const uint32_t bytes = i % 8 == 0 ? governor.keyframe_bytes() : 0;
    governor.note(share(i % 8 == 0 ? 3.3 + bytes / 50e6 : 0.05), bytes);
  }
  EXPECT_GT(governor.keyframe_bytes(), 4u << 20);
}

}  // namespace
}  // namespace tidegate::world
