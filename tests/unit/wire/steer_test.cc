// SPDX-License-Identifier: Apache-2.0
// The rule by which a sample of PLAYER_STEER moves, and its runs on the wire.
#include "wire/steer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/prng.h"

namespace tidegate::wire {
namespace {

SteerSample going(int x, int y, int z) {
  SteerSample s;
  s.direction[0] = static_cast<int8_t>(x);
  s.direction[1] = static_cast<int8_t>(y);
  s.direction[2] = static_cast<int8_t>(z);
  return s;
}

TEST(Steer, ManyTicksGoTheSpeedRoundedOnce) {
  base::Prng random(3);
  for (int round = 0; round < 500; ++round) {
    const uint32_t speed = 1 + static_cast<uint32_t>(random.below(65'535));
    const auto from = static_cast<uint32_t>(random.below(1'000'000)) * 32512 +
                      static_cast<uint32_t>(random.below(32'000));
    const auto ticks = static_cast<uint32_t>(random.below(500));
    const int d = static_cast<int>(random.below(255)) - 127;
    int64_t moved = 0;
    for (uint32_t t = 0; t < ticks; ++t) moved += steer_steps(going(d, 0, 0), from + t, speed)[0];
    const double exact = static_cast<double>(d) * speed * ticks / 127 / 256;
    ASSERT_NEAR(static_cast<double>(moved), exact, 1.0) << d << " " << speed << " " << ticks;
  }
}

TEST(Steer, NoDirectionIsFasterThanTheAxes) {
  for (int x = -128; x <= 127; x += 5) {
    for (int y = -128; y <= 127; y += 17) {
      for (int z = -128; z <= 127; z += 5) {
        double moved[3] = {0, 0, 0};
        for (uint32_t t = 0; t < 64; ++t) {
          const auto m = steer_steps(going(x, y, z), t, 20'000);
          for (size_t i = 0; i < 3; ++i) moved[i] += m[i];
        }
        ASSERT_LE(std::hypot(moved[0], moved[1], moved[2]), 64 * 20'000 / 256.0 + 2)
            << x << " " << y << " " << z;
      }
    }
  }
}

TEST(Steer, RunsComeBackAsTheyWere) {
  base::Prng random(4);
  for (int round = 0; round < 300; ++round) {
    std::vector<SteerSample> samples;
    const uint64_t count = 1 + random.below(kSteerSamplesMost);
    while (samples.size() < count) {
      SteerSample s = going(static_cast<int>(random.below(256)) - 128, 0,
                            static_cast<int>(random.below(256)) - 128);
      s.yaw = static_cast<uint8_t>(random.below(256));
      s.flags = random.below(3) == 0 ? static_cast<uint32_t>(random.next()) : 1;
      for (uint64_t n = 1 + random.below(20); n > 0 && samples.size() < count; --n) {
        samples.push_back(s);
      }
    }
    std::vector<uint8_t> bytes(samples.size() * 14);
    bytes.resize(encode_steer_runs(bytes, samples.data(), static_cast<uint32_t>(samples.size())));
    ASSERT_FALSE(bytes.empty());
    SteerRuns runs(bytes);
    SteerSample out;
    for (const SteerSample& s : samples) {
      ASSERT_TRUE(runs.next(&out));
      ASSERT_EQ(out, s);
    }
    EXPECT_FALSE(runs.next(&out));
    EXPECT_FALSE(runs.malformed());
    // Cut off anywhere it is either shorter by whole runs or malformed, never something else.
    for (size_t cut = 0; cut < bytes.size(); ++cut) {
      SteerRuns part({bytes.data(), cut});
      size_t i = 0;
      while (part.next(&out)) ASSERT_EQ(out, samples[i++]);
    }
  }
}

TEST(Steer, RefusesRunsThatAreNone) {
  const std::vector<std::vector<uint8_t>> bad = {
      {0, 1, 2, 3, 4, 0},                             // a run of none
      {1, 1, 2, 3},                                   // cut
      {1, 1, 2, 3, 4},                                // without flags
      {0xFF, 0xFF, 0xFF, 0xFF, 0x1F, 1, 2, 3, 4, 0},  // above 32 bits
      {129, 1, 1, 2, 3, 4, 0},                        // above the limit
      {100, 1, 2, 3, 4, 0, 100, 1, 2, 3, 4, 0}        // in all
  };
  for (const auto& bytes : bad) {
    SteerRuns runs(bytes);
    SteerSample out;
    uint32_t n = 0;
    while (runs.next(&out)) ++n;
    EXPECT_TRUE(runs.malformed());
    EXPECT_LE(n, kSteerSamplesMost);
  }
}

}  // namespace
}  // namespace tidegate::wire
