// SPDX-License-Identifier: Apache-2.0
// Cells change their owner while entities walk, cross and are watched: pictures go on to equal the
// truth, and nobody needs a keyframe for it.
#include <gtest/gtest.h>

#include "harness.h"

namespace tidegate::world::test {
namespace {

WorldConfig config_for(uint32_t shards) {
  WorldConfig config;
  config.shard_count = shards;
  config.moved_cells = 64;
  config.entities = 512;
  config.cells = 512;
  config.max_speed = 60.0F;
  for (int axis : {0, 2}) {
    config.bounds_min[axis] = -200.0F;
    config.bounds_max[axis] = 200.0F;
  }
  config.linger_ms = 300;
  return config;
}

struct Outcome {
  uint64_t state = 0, cells = 0, entities = 0, handovers = 0, checksums = 0, joins = 0, bytes = 0;
  uint64_t reuses = 0;
};

// Everybody walks to and fro; the wishes depend on nothing but the seed.
Outcome walk(const Options& options, uint64_t seed, uint32_t walkers, uint32_t ticks) {
  Harness h(options);
  base::Prng prng(seed);
  for (uint32_t i = 0; i < walkers; ++i) {
    const Steps3 at{static_cast<int32_t>(prng.between(-8000, 8000)), 0,
                    static_cast<int32_t>(prng.between(-8000, 8000))};
    h.add(at, i % 2 == 0, i % 4 == 0 ? Encoding::kPacked : Encoding::kProtobuf,
          i % 6 == 0 ? 60.0F : 0.0F);
  }
  for (uint32_t i = 0; i < ticks && !::testing::Test::HasFailure(); ++i) {
    for (uint32_t n = 0; n < h.walkers.size(); ++n) {
      Walker& w = h.walkers[n];
      if (!w.connected || w.gone || (i + n) % 2 != 0) continue;
      const auto turn =
          static_cast<uint32_t>(mix32(n * 977 + i / 40 + static_cast<uint32_t>(seed)));
      Steps3 wish = w.position;
      wish[0] += static_cast<int32_t>(turn % 97) - 48;
      wish[2] += static_cast<int32_t>(turn / 97 % 97) - 48;
      h.send(w, h.slice(0).scale().clamp(wish), static_cast<uint8_t>(turn), turn % 5);
    }
    if (i == ticks / 3) h.disconnect(h.walkers[1]);
    if (i == ticks / 2) h.disconnect(h.walkers[2]);
    h.step();
    options.levels ? h.check_levels() : h.check();
    // There is plenty, and the plan of what each client gets must see that.
    for (uint32_t s = 0; s < h.shards(); ++s) EXPECT_EQ(h.interest(s).limited_count(), 0u);
  }
  for (uint32_t i = 0; options.levels && i < 2 * kLayerPeriod; ++i) h.step();
  if (options.levels) h.check();
  Outcome outcome;
  outcome.state = h.state_hash();
  outcome.cells = h.cells_moved;
  outcome.bytes = h.bytes_sent;
  for (uint32_t s = 0; s < h.shards(); ++s) {
    const SliceCounters& c = h.slice(s).counters();
    outcome.entities += c.cell_entities_in;
    outcome.handovers += c.transfers_in;
    outcome.joins += h.interest(s).counters().joins;
    outcome.reuses += h.slice(s).cells().early_reuses();
    EXPECT_EQ(c.arrivals_refused, 0u);
  }
  for (const Walker& w : h.walkers) {
    if (w.client && w.encoding == Encoding::kPacked) outcome.checksums += w.client->checksums;
  }
  return outcome;
}

TEST(CellMoves, PicturesEqualTheTruthAndTheWorldIsTheSame) {
  for (const bool levels : {false, true}) {
    uint64_t expected = 0;
    uint64_t joins = 0;
    for (const double moves : {0.0, 0.7}) {
      Options options;
      options.config = config_for(4);
      options.seed = 5;
      options.levels = levels;
      options.cell_moves = moves;
      const Outcome o = walk(options, 11, 80, 300);
      if (moves == 0.0) {
        expected = o.state;
        joins = o.joins;
      }
      EXPECT_EQ(o.state, expected) << "moves " << moves;
      EXPECT_EQ(o.joins, joins) << "nobody began anew";
      EXPECT_EQ(o.reuses, 0u);
      EXPECT_GT(o.checksums, 100u);
      if (moves > 0) {
        EXPECT_GT(o.cells, 100u);
        EXPECT_GT(o.entities, 200u);
        EXPECT_GT(o.handovers, 50u);
      }
    }
  }
}

TEST(CellMoves, ManySeedsWithFullRingsAndInputsOnTheirWay) {
  for (uint64_t seed = 1; seed <= 6 && !HasFailure(); ++seed) {
    Options options;
    options.config = config_for(seed % 2 == 0 ? 2 : 3);
    options.config.history_ticks = seed % 3 == 0 ? 20 : 0;
    options.seed = seed;
    options.levels = seed % 2 == 1;
    options.cell_moves = 0.5;
    options.transfer_refused = 0.1;
    options.moved_refused = 0.1;
    options.inputs_wander = true;
    SCOPED_TRACE("seed " + std::to_string(seed));
    EXPECT_GT(walk(options, seed, 60, 200).cells, 50u);
  }
}

// One cell, nobody crosses: the streams are the same bytes whoever owns the cell.
TEST(CellMoves, TheStreamIsTheSameBytes) {
  for (const bool levels : {false, true}) {
    uint64_t hash[2] = {};
    uint64_t moved = 0;
    for (const bool moves : {false, true}) {
      Options options;
      options.config = config_for(3);
      options.config.full_rate_distance = 10.0F;
      options.levels = levels;
      Harness h(options);
      for (int i = 0; i < 40; ++i) {
        h.add({300 + i * 60, 0, 200 + (i % 7) * 400}, i % 3 == 0,
              i % 2 == 0 ? Encoding::kPacked : Encoding::kProtobuf, 30.0F);
      }
      for (uint32_t t = 0; t < 120 && !HasFailure(); ++t) {
        for (uint32_t i = 0; i < h.walkers.size(); ++i) {
          Walker& w = h.walkers[i];
          Steps3 wish = w.position;
          wish[0] =
              std::clamp(wish[0] + static_cast<int32_t>(mix32(i * 31 + t / 9) % 9) - 4, 100, 3100);
          wish[2] =
              std::clamp(wish[2] + static_cast<int32_t>(mix32(i * 17 + t / 9) % 9) - 4, 100, 3100);
          if ((t + i) % 3 != 0) h.send(w, wish, static_cast<uint8_t>(t / 20));
        }
        h.step();
        if (moves && t % 5 == 3) {
          const uint32_t owner = h.slice(0).owners().owner({0, 0}).value;
          // Behind the step all have encoded; the tick it was is over for the taker, too.
          --h.tick;
          if (h.move_cell({0, 0}, {static_cast<uint16_t>((owner + 1) % 3)})) ++moved;
          h.slice(owner).end_giving();
          ++h.tick;
        }
        levels ? h.check_levels() : h.check();
      }
      hash[moves ? 1 : 0] = h.chunks_hash;
    }
    EXPECT_GE(moved, 20u);
    EXPECT_EQ(hash[0], hash[1]);
  }
}

// The past goes with the cell, as does what a client has not been answered yet.
TEST(CellMoves, PastAndWaitingInputsGoWithTheCell) {
  Options options;
  options.config = config_for(2);
  options.config.history_ticks = 30;
  Harness h(options);
  const uint32_t i = h.add({100, 0, 100}, true, Encoding::kPacked);
  Walker& w = h.walkers[i];
  for (int t = 0; t < 25; ++t) {
    h.send(w, {100 + t, 0, 100});
    h.step();
  }
  const ShardId from = h.slice(0).owners().owner({0, 0});
  const ShardId to{static_cast<uint16_t>(1 - from.value)};
  Input input{};
  input.position = {130, 0, 100};
  input.client_tick = ++w.client_tick;
  input.has = Input::kPosition;
  EXPECT_EQ(h.slice(from.value).queue_input(w.id, input).status, QueueStatus::kOk);
  --h.tick;
  const uint32_t tick = h.tick;
  ASSERT_TRUE(h.move_cell({0, 0}, to));
  h.slice(from.value).end_giving();
  ++h.tick;
  EXPECT_EQ(h.slice(from.value).entities().count(), 0u);
  // Late input finds its way.
  const Queued late = h.slice(from.value).queue_input(w.id, input);
  EXPECT_EQ(late.status, QueueStatus::kForward);
  EXPECT_EQ(late.to, to);
  const EntitySlot s = h.slice(to.value).entities().find(w.id);
  ASSERT_NE(s, kNoEntity);
  for (uint32_t back = 0; back < 20; ++back) {
    HistorySample sample;
    ASSERT_TRUE(h.slice(to.value).history().at(s, {tick - back, 0}, &sample)) << back;
    EXPECT_EQ(sample.position[0], 124 - static_cast<int32_t>(back));
  }
  h.step();
  EXPECT_EQ(w.position[0], 130) << "the input that waited was applied";
  EXPECT_EQ(w.last.client_tick, input.client_tick);
  h.check();
}

TEST(CellMoves, LimitsAreKept) {
  Options options;
  options.config = config_for(2);
  options.config.moved_cells = 3;
  Harness h(options);
  h.add({100, 0, 100}, false, Encoding::kPacked);
  h.step();
  uint32_t moved = 0;
  for (int16_t x = -3; x < 3; ++x) {
    const CellKey key{x, 1};
    const ShardId owner = h.slice(0).owners().owner(key);
    const ShardId to{static_cast<uint16_t>(1 - owner.value)};
    if (h.move_cell(key, to)) {
      ++moved;
      EXPECT_FALSE(h.move_cell(key, owner)) << "once in a tick";
    }
    h.step();
  }
  EXPECT_EQ(moved, 3u);
  EXPECT_EQ(h.slice(0).owners().moved(), 3u);
  // Back to the rule is always possible, and makes room.
  for (int16_t x = -3; x < 3; ++x) {
    const CellKey key{x, 1};
    h.move_cell(key, owner_of(key, 2));
    h.step();
  }
  EXPECT_EQ(h.slice(1).owners().moved(), 0u);
  EXPECT_FALSE(h.slice(0).may_give({0, 0}, {2}, h.tick)) << "there is no such shard";
}

}  // namespace
}  // namespace tidegate::world::test
