// SPDX-License-Identifier: Apache-2.0
// The ring of past states against a naive model that keeps everything, with entities that come, go
// and cross between slices.
#include "world/history.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "harness.h"

namespace tidegate::world::test {
namespace {

HistorySample sample_of(const Image& image) {
  return HistorySample{image.position, image.flags, image.yaw, {}};
}
bool equal(const HistorySample& a, const HistorySample& b) {
  return a.position == b.position && a.flags == b.flags && a.yaw == b.yaw;
}

// Every state of every entity, by its number and tick.
struct Model {
  std::map<uint32_t, std::map<uint32_t, HistorySample>> past;

  void record(const EntityTable& entities, uint32_t tick) {
    for (EntitySlot s = 0; s < entities.high_water(); ++s) {
      if (entities.live(s)) past[entities.id(s).value][tick] = sample_of(entities.image(s));
    }
  }
  bool at(uint32_t id, TickTime time, HistorySample* out) const {
    const auto entity = past.find(id);
    if (entity == past.end()) return false;
    const auto a = entity->second.find(time.tick);
    if (a == entity->second.end()) return false;
    *out = a->second;
    if (time.fraction == 0) return true;
    const auto b = entity->second.find(time.tick + 1);
    if (b == entity->second.end()) return false;
    const double f = time.fraction / 65536.0;
    for (size_t i = 0; i < 3; ++i) {
      out->position[i] +=
          static_cast<int32_t>(std::round((b->second.position[i] - a->second.position[i]) * f));
    }
    int turn = b->second.yaw - a->second.yaw;
    if (turn > 127) turn -= 256;
    if (turn < -128) turn += 256;
    out->yaw = static_cast<uint8_t>(a->second.yaw + static_cast<int>(std::round(turn * f)));
    return true;
  }
};

WorldConfig world_of(uint32_t shards, uint32_t ticks) {
  WorldConfig config;
  config.shard_count = shards;
  config.entities = 256;
  config.cells = 512;
  config.max_speed = 200.0F;
  config.cell_size = 16.0F;
  config.view_distance = 40.0F;
  config.history_ticks = ticks;
  config.linger_ms = 300;
  for (int axis : {0, 2}) {
    config.bounds_min[axis] = -100.0F;
    config.bounds_max[axis] = 100.0F;
  }
  return config;
}

// Walks 60 entities over borders for a while and compares at random times. Returns hand-overs.
uint64_t walk_and_compare(uint32_t shards, uint32_t depth, uint64_t seed) {
  Options options;
  options.config = world_of(shards, depth);
  options.seed = seed;
  options.transfer_refused = 0.1;
  options.inputs_wander = true;
  Harness h(options);
  Model model;
  base::Prng prng(seed * 31);
  const auto somewhere = [&] { return static_cast<int32_t>(prng.between(-4900, 4900)); };
  for (int i = 0; i < 60; ++i) h.add({somewhere(), 5, somewhere()}, false, Encoding::kPacked);
  for (int turn = 0; turn < 200 && !::testing::Test::HasFailure(); ++turn) {
    for (Walker& w : h.walkers) {
      if (!w.connected || w.gone || prng.chance(0.3)) continue;
      Steps3 wish = w.position;
      wish[0] += static_cast<int32_t>(prng.between(-150, 150));
      wish[2] += static_cast<int32_t>(prng.between(-150, 150));
      h.send(w, h.slice(0).scale().clamp(wish), static_cast<uint8_t>(prng.next()), prng.below(9));
    }
    if (turn % 40 == 7) h.disconnect(h.walkers[turn / 40]);
    if (turn % 25 == 24) h.add({somewhere(), 5, somewhere()}, false, Encoding::kPacked);
    const uint32_t tick = h.tick;
    h.step();
    for (uint32_t i = 0; i < h.shards(); ++i) model.record(h.slice(i).entities(), tick);

    const auto back = static_cast<uint32_t>(prng.below(depth + 5));
    const TickTime time{back < tick ? tick - back : 0,
                        static_cast<uint16_t>(prng.chance(0.3) ? 0 : prng.next())};
    const Steps3 centre{somewhere(), 0, somewhere()};
    const auto radius = static_cast<uint32_t>(prng.below(4000));
    for (uint32_t i = 0; i < h.shards(); ++i) {
      const EntityTable& entities = h.slice(i).entities();
      const History& history = h.slice(i).history();
      EXPECT_EQ(history.newest(), tick);
      std::map<uint32_t, HistorySample> near;
      history.within(centre, radius, time, [&](EntitySlot s, const HistorySample& sample) {
        EXPECT_TRUE(near.emplace(entities.id(s).value, sample).second);
      });
      for (EntitySlot s = 0; s < entities.high_water(); ++s) {
        if (!entities.live(s)) continue;
        const uint32_t id = entities.id(s).value;
        HistorySample got, expected;
        const bool has = history.at(s, time, &got);
        const bool known = model.at(id, time, &expected);
        if (has) {
          EXPECT_TRUE(known && equal(got, expected)) << id << " at " << time.tick;
        } else if (known) {
          // Only what lies beyond the depth, or beyond what travels, may be missing.
          EXPECT_GT(back + 1, std::min(depth, History::kTravelMax)) << id;
        }
        bool inside = false;
        if (has) {
          int64_t sum = 0;
          for (size_t a = 0; a < 3; ++a) {
            const int64_t d = int64_t{expected.position[a]} - centre[a];
            sum += d * d;
          }
          inside = sum <= int64_t{radius} * radius;
        }
        EXPECT_EQ(near.count(id) == 1, inside) << id;
        if (inside) {
          EXPECT_TRUE(equal(near[id], expected));
        }
      }
    }
  }
  uint64_t handovers = 0;
  for (uint32_t i = 0; i < h.shards(); ++i) handovers += h.slice(i).counters().transfers_in;
  return handovers;
}

TEST(History, EqualsTheNaiveModelHoweverTheWorldIsCut) {
  for (const uint32_t shards : {1u, 2u, 4u}) {
    for (const uint32_t depth : {2u, 30u, 100u}) {
      SCOPED_TRACE(std::to_string(shards) + " shards, depth " + std::to_string(depth));
      const uint64_t handovers = walk_and_compare(shards, depth, shards * 1000 + depth);
      if (shards > 1) {
        EXPECT_GT(handovers, 100u);
      }
    }
  }
}

TEST(History, DepthFollowsFromTheMemory) {
  EXPECT_EQ(History::depth_for(1000, 61, 32 << 20), 61u);
  EXPECT_EQ(History::depth_for(1000, 61, 0), 0u);
  EXPECT_EQ(History::depth_for(1000, 1, 32 << 20), 0u) << "one sample is no past";
  EXPECT_EQ(History::depth_for(10, 1'000'000, uint64_t{1} << 40), History::kDepthMax);
  base::Prng prng(3);
  for (int i = 0; i < 200; ++i) {
    const auto entities = static_cast<uint32_t>(prng.between(1, 3000));
    const uint64_t cap = prng.below(1 << 20);
    const uint32_t depth = History::depth_for(entities, 100, cap);
    if (depth == 0) continue;
    EXPECT_LE(History(entities, depth).bytes(), cap);
    if (depth < 100) {
      EXPECT_GT(History(entities, depth + 1).bytes(), cap);
    }
  }
}

TEST(History, NothingIsKeptWhenItIsOff) {
  WorldConfig config = world_of(1, 0);
  WorldSlice slice(config, {0});
  EXPECT_EQ(slice.history().bytes(), 0u);
  HistorySample sample;
  EXPECT_FALSE(slice.history().at(0, {1, 0}, &sample));
  slice.history().within({0, 0, 0}, UINT32_MAX, {1, 0},
                         [](EntitySlot, const HistorySample&) { FAIL(); });
}

struct HistoryTable : testing::Test {
  EntityTable entities{8};
  History history{8, 10};
  EntitySlot add(uint32_t id, int32_t x) {
    const EntitySlot s = entities.add({id}, "e" + std::to_string(id), EntityKind::kNpc);
    entities.image(s).position = {x, 0, 0};
    history.begin(s);
    return s;
  }
  int32_t x_at(EntitySlot s, TickTime time) const {
    HistorySample sample;
    return history.at(s, time, &sample) ? sample.position[0] : -1;
  }
};

TEST_F(HistoryTable, ASlotThatIsUsedAgainHasNoPastOfTheFormer) {
  const EntitySlot a = add(1, 100);
  for (uint32_t t = 1; t <= 5; ++t) history.record(t, entities);
  EXPECT_EQ(x_at(a, {3, 0}), 100);
  history.end(a);
  entities.remove(a);
  EXPECT_EQ(x_at(a, {3, 0}), -1);
  const EntitySlot b = add(2, 200);
  ASSERT_EQ(a, b);
  EXPECT_EQ(x_at(b, {5, 0}), -1);
  history.record(6, entities);
  EXPECT_EQ(x_at(b, {5, 0}), -1);
  EXPECT_EQ(x_at(b, {6, 0}), 200);
  EXPECT_EQ(x_at(b, {6, 1}), -1) << "the future";
}

TEST_F(HistoryTable, AGapForgetsWhatWasBefore) {
  const EntitySlot a = add(1, 10);
  history.record(1, entities);
  history.record(2, entities);
  history.record(50, entities);
  EXPECT_EQ(x_at(a, {2, 0}), -1);
  EXPECT_EQ(x_at(a, {45, 0}), -1);
  EXPECT_EQ(x_at(a, {50, 0}), 10);
}

TEST_F(HistoryTable, AnImportBeforeAndAfterItsTickIsRecorded) {
  add(1, 0);
  for (uint32_t t = 1; t <= 20; ++t) history.record(t, entities);
  std::vector<HistorySample> past(15);
  for (int i = 0; i < 15; ++i) past[static_cast<size_t>(i)].position[0] = 1000 + i;
  // The receiver has simulated tick 20 already.
  EntitySlot s = entities.add({7}, "x", EntityKind::kPlayer);
  history.import(s, 20, past);
  EXPECT_EQ(x_at(s, {20, 0}), 1014);
  EXPECT_EQ(x_at(s, {11, 0}), 1005);
  EXPECT_EQ(x_at(s, {10, 0}), -1) << "as deep as the ring";
  EXPECT_EQ(x_at(s, {19, 32768}), 1014) << "rounded away from zero";
  // It has not yet.
  s = entities.add({8}, "y", EntityKind::kPlayer);
  entities.image(s).position[0] = 1014;
  history.import(s, 21, past);
  history.record(21, entities);
  EXPECT_EQ(x_at(s, {21, 0}), 1014);
  EXPECT_EQ(x_at(s, {20, 0}), 1013);
  EXPECT_EQ(x_at(s, {12, 0}), 1005);
  EXPECT_EQ(x_at(0, {12, 0}), 0) << "the others' rows are whole";
  // Of another time altogether: it begins without a past.
  s = entities.add({9}, "z", EntityKind::kPlayer);
  history.import(s, 40, past);
  history.record(22, entities);
  EXPECT_EQ(x_at(s, {21, 0}), -1);
}

}  // namespace
}  // namespace tidegate::world::test
