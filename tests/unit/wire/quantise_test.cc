// SPDX-License-Identifier: Apache-2.0
#include "wire/quantise.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/prng.h"

namespace tidegate::wire {
namespace {

TEST(Quantise, RoundsPositionsToTheNearestStep) {
  EXPECT_EQ(to_steps(0.0F, 0.02F), 0);
  EXPECT_EQ(to_steps(1.0F, 0.02F), 50);
  EXPECT_EQ(to_steps(-1.0F, 0.02F), -50);
  EXPECT_EQ(to_steps(0.029F, 0.02F), 1);
  EXPECT_EQ(to_steps(0.031F, 0.02F), 2);
  EXPECT_EQ(to_steps(-0.031F, 0.02F), -2);
  EXPECT_EQ(to_steps(63.999F, 0.02F),
            3200);                         // belongs to the next cell after rounding
  EXPECT_EQ(to_steps(-0.009F, 0.02F), 0);  // and this one not to the cell below
}

TEST(Quantise, SaturatesPositions) {
  EXPECT_EQ(to_steps(3.0e38F, 0.02F), INT32_MAX);
  EXPECT_EQ(to_steps(-3.0e38F, 0.02F), INT32_MIN);
  EXPECT_EQ(to_steps(1.0e8F, 0.02F), INT32_MAX);
}

TEST(Quantise, StepsSurviveTheWayThroughMetres) {
  base::Prng prng(6);
  for (int i = 0; i < 200'000; ++i) {
    // A float holds 24 bits: within 40 km it tells 2 cm steps apart.
    const int32_t steps = static_cast<int32_t>(prng.between(-2'000'000, 2'000'000));
    ASSERT_EQ(to_steps(to_metres(steps, 0.02F), 0.02F), steps);
  }
}

TEST(Quantise, VelocitiesAreCentimetresASecondAndSaturate) {
  EXPECT_EQ(to_velocity(1.4F), 140);
  EXPECT_EQ(to_velocity(-1.4F), -140);
  EXPECT_EQ(to_velocity(400.0F), 32767);
  EXPECT_EQ(to_velocity(-400.0F), -32768);
  EXPECT_EQ(to_velocity(3.0e38F), 32767);
  for (int v = -32768; v <= 32767; ++v) {
    ASSERT_EQ(to_velocity(from_velocity(static_cast<int16_t>(v))), v);
  }
}

TEST(Quantise, YawIsRightHandedAboutY) {
  EXPECT_EQ(to_yaw({0, 0, 0, 1}), 0);
  const float half = std::sqrt(0.5F);
  EXPECT_EQ(to_yaw({0, half, 0, half}), 64);  // a quarter turn: z axis to x axis
  EXPECT_EQ(to_yaw({0, 1, 0, 0}), 128);
  EXPECT_EQ(to_yaw({0, -half, 0, half}), 192);
  EXPECT_EQ(to_yaw({0, 0, 0, 0}), 0);
  for (int yaw = 0; yaw < 256; ++yaw) {
    const Quaternion q = from_yaw(static_cast<uint8_t>(yaw));
    ASSERT_EQ(to_yaw(q), yaw);
    ASSERT_EQ(to_yaw({-q.x, -q.y, -q.z, -q.w}), yaw) << "q and -q are the same rotation";
    ASSERT_EQ(to_yaw({0, q.y * 1000, 0, q.w * 1000}), yaw) << "length does not matter";
    ASSERT_NEAR(q.y * q.y + q.w * q.w, 1.0, 1e-6);
  }
}

}  // namespace
}  // namespace tidegate::wire
