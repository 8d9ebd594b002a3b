// SPDX-License-Identifier: Apache-2.0
// The world cut into 1, 2 and 4 slices: every watcher's picture equals the truth of its cells
// after every tick, and the result does not depend on the cut.
#include <gtest/gtest.h>

#include "harness.h"

namespace tidegate::world::test {
namespace {

WorldConfig small_world(uint32_t shards) {
  WorldConfig config;
  config.shard_count = shards;
  config.entities = 512;
  config.cells = 512;
  config.max_speed = 60.0F;
  for (int axis : {0, 2}) {
    config.bounds_min[axis] = -300.0F;
    config.bounds_max[axis] = 300.0F;
  }
  config.linger_ms = 500;
  return config;
}

// One walk of everybody; positions come from the walker's own generator, so they are the same for
// every number of shards.
class Walk {
 public:
  Walk(Harness& harness, uint64_t seed) : h_(harness), prng_(seed) {}

  void populate(uint32_t walkers, uint32_t oscillators) {
    for (uint32_t i = 0; i < walkers; ++i) {
      const Steps3 at{at_random(), static_cast<int32_t>(prng_.between(0, 200)), at_random()};
      h_.add(at, i % 2 == 0, i % 4 == 0 ? Encoding::kPacked : Encoding::kProtobuf,
             i % 6 == 0 ? 60.0F : 0.0F);
    }
    first_oscillator_ = walkers;
    for (uint32_t i = 0; i < oscillators; ++i) {
      // Beside the border x = 0, or at the corner of four cells.
      h_.add({-3, 0, i % 2 ? 900 : -3}, i < 4, i % 2 ? Encoding::kPacked : Encoding::kProtobuf);
    }
  }
  void send(uint32_t tick) {
    for (uint32_t i = 0; i < h_.walkers.size(); ++i) {
      Walker& w = h_.walkers[i];
      if (!w.connected || w.gone) continue;
      if (i >= first_oscillator_) {
        oscillate(w, i, tick);
        continue;
      }
      if ((tick + i) % 3 != 0) continue;
      if (prng_.chance(0.05)) heading_[i % 64] = prng_.below(256);
      const uint64_t h = heading_[i % 64] + i * 37;
      Steps3 wish = w.position;
      wish[0] += static_cast<int32_t>(h % 256) - 128;
      wish[2] += static_cast<int32_t>(h / 3 % 256) - 128;
      wish[1] = static_cast<int32_t>((wish[1] + static_cast<int32_t>(h % 3)) % 400);
      h_.send(w, h_.slice(0).scale().clamp(wish), static_cast<uint8_t>(h),
              i % 5 == 0 ? tick / 64 : 0);
    }
  }

 private:
  int32_t at_random() { return static_cast<int32_t>(prng_.between(-14'000, 14'000)); }
  void oscillate(Walker& w, uint32_t i, uint32_t tick) {
    const bool over = (tick + i) % 2 == 0;
    Steps3 wish = w.position;
    wish[0] = over ? 3 : -3;
    if (i % 2 == 0) wish[2] = (tick / 2 + i) % 2 == 0 ? 3 : -3;
    h_.send(w, wish);
  }

  Harness& h_;
  base::Prng prng_;
  uint32_t first_oscillator_ = 0;
  uint64_t heading_[64] = {};
};

struct Outcome {
  uint64_t state = 0, handovers = 0, checksums = 0, levels = 0;
  uint64_t layer_frames[kLevels] = {};
};

Outcome run(const Options& options, uint64_t walk_seed, uint32_t ticks) {
  Harness h(options);
  Walk walk(h, walk_seed);
  walk.populate(80, 12);
  for (uint32_t i = 0; i < ticks && !::testing::Test::HasFailure(); ++i) {
    walk.send(h.tick);
    if (i == 200) h.disconnect(h.walkers[1]);
    if (i == 210) h.disconnect(h.walkers[4]);
    if (i % 50 == 49) {
      h.add({static_cast<int32_t>(i) * 10, 0, -3}, i % 100 == 99, Encoding::kProtobuf);
    }
    h.step();
    options.levels ? h.check_levels() : h.check();
  }
  // Nobody moves: within a period every layer has told what there was.
  for (uint32_t i = 0; options.levels && i < 2 * kLayerPeriod; ++i) h.step();
  if (options.levels) h.check();
  Outcome outcome;
  outcome.state = h.state_hash();
  for (uint32_t s = 0; s < h.shards(); ++s) {
    const InterestCounters& interest = h.interest(s).counters();
    outcome.levels += std::min(interest.levels_raised, interest.levels_lowered);
    for (uint32_t l = 0; l < kLevels; ++l) {
      outcome.layer_frames[l] += h.slice(s).encode_counters().layer_frames[l];
    }
    EXPECT_EQ(h.slice(s).encode_counters().layers_left_out, 0u);
    outcome.handovers += h.slice(s).counters().transfers_in;
    EXPECT_EQ(h.slice(s).encode_counters().skipped, 0u);
    EXPECT_EQ(h.slice(s).counters().arrivals_refused, 0u);
  }
  for (const Walker& w : h.walkers) {
    if (w.client && w.encoding == Encoding::kPacked) outcome.checksums += w.client->checksums;
  }
  return outcome;
}

TEST(ManyShards, PicturesEqualTheTruthAndTheCutDoesNotMatter) {
  uint64_t expected = 0;
  for (const uint32_t shards : {1u, 2u, 4u}) {
    Options options;
    options.config = small_world(shards);
    options.seed = 7 + shards;
    const Outcome outcome = run(options, 42, 400);
    if (expected == 0) expected = outcome.state;
    EXPECT_EQ(outcome.state, expected) << shards << " shards";
    EXPECT_GT(outcome.checksums, 100u);
    if (shards > 1) {
      EXPECT_GT(outcome.handovers, 500u);
    }
  }
}

// Far cells at lower rates, and levels that change all the time: images are those of their tick.
TEST(ManyShards, LayersShowTheTruthOfTheirTickWhileLevelsChange) {
  uint64_t expected = 0;
  for (const uint32_t shards : {1u, 2u, 4u}) {
    Options options;
    options.config = small_world(shards);
    options.config.full_rate_distance = 10.0F;
    options.config.half_rate_distance = 30.0F;
    options.config.quarter_rate_distance = 60.0F;
    options.seed = 70 + shards;
    options.levels = true;
    const Outcome outcome = run(options, 43, 400);
    if (expected == 0) expected = outcome.state;
    EXPECT_EQ(outcome.state, expected) << shards << " shards";
    EXPECT_GT(outcome.levels, 200u);
    EXPECT_GT(outcome.checksums, 100u);
    for (const uint64_t frames : outcome.layer_frames) EXPECT_GT(frames, 100u);
  }
}

TEST(ManyShards, LayersWithInputsOnTheirWayAndFullRings) {
  for (uint64_t seed = 1; seed <= 4 && !HasFailure(); ++seed) {
    Options options;
    options.config = small_world(4);
    options.config.full_rate_distance = 0.0F;
    options.config.half_rate_distance = 40.0F;
    options.config.quarter_rate_distance = 50.0F;
    options.seed = seed;
    options.levels = true;
    options.transfer_refused = 0.2;
    options.moved_refused = 0.1;
    options.inputs_wander = true;
    SCOPED_TRACE("seed " + std::to_string(seed));
    EXPECT_GT(run(options, seed, 150).handovers, 100u);
  }
}

TEST(ManyShards, OtherWalksHaveOtherHashes) {
  Options options;
  options.config = small_world(2);
  EXPECT_NE(run(options, 1, 60).state, run(options, 2, 60).state);
}

TEST(ManyShards, ManySeedsWithInputsOnTheirWayAndFullRings) {
  for (uint64_t seed = 1; seed <= 6 && !HasFailure(); ++seed) {
    Options options;
    options.config = small_world(seed % 3 == 0 ? 3 : 4);
    options.seed = seed;
    options.transfer_refused = 0.2;
    options.moved_refused = 0.1;
    options.inputs_wander = true;
    SCOPED_TRACE("seed " + std::to_string(seed));
    EXPECT_GT(run(options, seed, 150).handovers, 100u);
  }
}

// Made beside a border and over it before anybody was told: watchers of both cells see one spawn.
TEST(ManyShards, NewbornsThatCrossAtOnce) {
  for (const uint32_t shards : {1u, 4u}) {
    Options options;
    options.config = small_world(shards);
    Harness h(options);
    for (int i = 0; i < 4; ++i) {
      h.add({i * 700 - 1000, 0, 50}, true, i % 2 ? Encoding::kPacked : Encoding::kProtobuf, 40.0F);
    }
    h.step();
    for (int i = 0; i < 40 && !HasFailure(); ++i) {
      const uint32_t born = h.add({-3, 0, i % 8 - 4}, false, Encoding::kPacked);
      h.send(h.walkers[born], {3, 0, 3 - i % 8});
      h.step();
      h.check();
    }
  }
}

// A crowd in one cell needs several chunks in every form, and a client still ends with the truth.
TEST(ManyShards, CrowdOfThousandsInOneCell) {
  Options options;
  options.config = small_world(2);
  options.config.entities = 4000;
  Harness h(options);
  for (uint32_t i = 0; i < 3000; ++i) {
    h.add({static_cast<int32_t>(i % 60) * 50, 0, static_cast<int32_t>(i / 60) * 50}, i < 2,
          i == 0 ? Encoding::kPacked : Encoding::kProtobuf);
  }
  for (int i = 0; i < 3; ++i) {
    h.step();
    h.check();
  }
  // Late watchers get keyframes; all move far enough to need residuals.
  h.add({100, 0, 100}, true, Encoding::kPacked);
  h.add({100, 0, 100}, true, Encoding::kProtobuf);
  for (int round = 0; round < 6; ++round) {
    for (Walker& w : h.walkers) {
      Steps3 wish = w.position;
      wish[0] = std::clamp(wish[0] + static_cast<int32_t>(h.prng().between(-40, 40)), 0, 3199);
      wish[2] = std::clamp(wish[2] + static_cast<int32_t>(h.prng().between(-40, 40)), 0, 3199);
      h.send(w, wish, static_cast<uint8_t>(h.prng().below(256)));
    }
    h.step();
    h.check();
  }
  // They all leave at once: every one crosses within a few ticks.
  for (int round = 0; round < 70 && !HasFailure(); ++round) {
    for (Walker& w : h.walkers) {
      Steps3 wish = w.position;
      wish[0] += 50;
      h.send(w, wish);
    }
    h.step();
    h.check();
  }
}

// An arena that is too small delays cells and leaves layers out; nobody's stream breaks, and all
// agree in the end.
void overflow(bool levels) {
  Options options;
  options.config = small_world(2);
  options.config.full_rate_distance = 20.0F;
  options.arena_bytes = levels ? 4'000 : 6'000;
  options.levels = levels;
  options.strict = false;  // late enters are spawned for all
  Harness h(options);
  Walk walk(h, 9);
  walk.populate(60, 6);
  for (int i = 0; i < 200 && !::testing::Test::HasFailure(); ++i) {
    walk.send(h.tick);
    h.step();
  }
  uint64_t skipped = 0;
  uint64_t left_out = 0;
  for (uint32_t s = 0; s < 2; ++s) {
    skipped += h.slice(s).encode_counters().skipped;
    left_out += h.slice(s).encode_counters().layers_left_out;
  }
  EXPECT_GT(skipped, 50u);
  if (levels) {
    EXPECT_GT(left_out, 50u);
  }
  // Nobody moves: what waits is told over the next ticks.
  for (int i = 0; i < 200; ++i) h.step();
  h.check();
}
TEST(ManyShards, ArenaOverflowDelaysButNeverDesyncs) { overflow(false); }
TEST(ManyShards, ArenaOverflowLeavesLayersOut) { overflow(true); }

// At some of these sizes one enter fits but not an enter and a change: the attempt ends.
TEST(ManyShards, ArenaWithRoomForOneRecordOnlyIsGivenUp) {
  uint64_t skipped = 0;
  for (size_t bytes = 64; bytes < 400; bytes += 4) {
    Options options;
    options.config = small_world(1);
    options.arena_bytes = bytes;
    Harness h(options);
    h.add({100, 0, 100}, true, Encoding::kPacked);
    for (int i = 0; i < 3; ++i) h.step();
    h.add({200, 0, 100}, false, Encoding::kPacked);
    h.send(h.walkers[0], {103, 0, 100});
    for (int i = 0; i < 3; ++i) h.step();
    skipped += h.slice(0).encode_counters().skipped;
  }
  EXPECT_GT(skipped, 20u);
}

// Nobody looks at a player's cells when none of them changed.
TEST(ManyShards, WhoSeesNothingChangeRests) {
  for (const Encoding encoding : {Encoding::kPacked, Encoding::kProtobuf}) {
    Options options;
    options.config = small_world(2);
    options.config.view_distance = 40.0F;
    Harness h(options);
    h.add({12'000, 0, 12'000}, true, encoding);  // in a corner
    h.add({12'000, 0, 12'000}, true, encoding);  // with somebody
    for (int i = 0; i < 4; ++i) h.add({-12'000, 0, -12'000}, true, encoding);
    const auto run = [&](uint32_t ticks) {
      for (uint32_t i = 0; i < ticks; ++i) {
        for (size_t k = 2; k < h.walkers.size(); ++k) {  // in the opposite corner
          Walker& w = h.walkers[k];
          Steps3 wish = w.position;
          wish[0] += i % 2 == 0 ? 5 : -5;
          h.send(w, wish);
        }
        h.step();
        h.check();
      }
    };
    run(120);
    for (Walker& w : h.walkers) w.rested = 0;
    run(240);
    for (size_t k = 0; k < h.walkers.size(); ++k) {
      if (k < 2) {
        EXPECT_GT(h.walkers[k].rested, 200u) << k;
      } else {
        EXPECT_LT(h.walkers[k].rested, 20u) << k;
      }
    }
  }
}

}  // namespace
}  // namespace tidegate::world::test
