// SPDX-License-Identifier: Apache-2.0
// The radius of interest in a crowd: it shrinks until the entities in view are few enough, not
// below the configured distance, the client is told, and it grows again when the crowd has gone.
#include <gtest/gtest.h>

#include <functional>
#include <memory>

#include "harness.h"

namespace tidegate::world::test {
namespace {

constexpr int32_t kCell = 3200;  // steps

WorldConfig config_for(uint32_t entities, float nearest) {
  WorldConfig c;
  c.shard_count = 2;
  c.entities = 1024;
  c.cells = 512;
  c.view_distance = 100.0F;
  c.crowd_entities = entities;
  c.crowd_view_distance = nearest;
  c.linger_ms = 100;
  return c;
}

class CrowdRadius : public ::testing::Test {
 protected:
  explicit CrowdRadius(uint32_t entities = 60, float nearest = 20)
      : h(options(entities, nearest)) {}
  static Options options(uint32_t entities, float nearest) {
    Options o;
    o.config = config_for(entities, nearest);
    o.levels = true;
    return o;
  }
  // `n` walkers in the cell (x, z).
  void crowd(uint32_t n, int16_t x, int16_t z) {
    for (uint32_t i = 0; i < n; ++i) {
      h.add({x * kCell + static_cast<int32_t>(i * 131 % 3000), 0,
             z * kCell + static_cast<int32_t>(i * 577 % 3000)},
            false, Encoding::kPacked);
    }
  }
  uint32_t watcher(Encoding encoding = Encoding::kPacked) {
    return h.add({kCell / 2, 0, kCell / 2}, true, encoding);
  }
  void seconds(uint32_t n) {
    for (uint32_t i = 0; i < n * 60; ++i) {
      for (uint32_t k = i % 3; k < h.walkers.size(); k += 3) {
        Walker& w = h.walkers[k];
        if (!w.connected || w.gone) continue;
        Steps3 wish = w.position;
        wish[0] += (i / 30 + k) % 2 == 0 ? 2 : -2;
        h.send(w, wish);
      }
      h.step();
    }
  }
  bool has(uint32_t w, int16_t x, int16_t z) {
    CellKey cells[kActiveCellsMax];
    const uint32_t n = table(w).active_cells(h.walkers[w].slot, cells);
    return std::find(cells, cells + n, CellKey{x, z}) != cells + n;
  }
  InterestTable& table(uint32_t w) { return h.interest(h.walkers[w].shard); }
  // What the client would be told, 0: nothing.
  float told(uint32_t w) {
    float metres = 0;
    return table(w).take_view_change(h.walkers[w].slot, &metres) ? metres : 0;
  }

  Harness h;
};

TEST_F(CrowdRadius, ShrinksToWhatFitsAndTellsTheClient) {
  const uint32_t w = watcher();
  crowd(30, 0, 0);
  seconds(2);
  EXPECT_EQ(told(w), 0.0F);
  EXPECT_TRUE(has(w, 2, 0));
  crowd(20, 1, 0);   // 32 m away
  crowd(20, -2, 0);  // 96 m: one too many
  seconds(3);
  EXPECT_TRUE(has(w, 0, 0));
  EXPECT_TRUE(has(w, 1, 0));
  EXPECT_FALSE(has(w, -2, 0));
  const float metres = told(w);
  EXPECT_GT(metres, 32.0F);
  EXPECT_LT(metres, 97.0F);
  EXPECT_EQ(told(w), 0.0F) << "told once";
  EXPECT_EQ(table(w).limited_count(), 1u);
  h.check_levels();
}

TEST_F(CrowdRadius, NeverBelowTheConfiguredDistanceNorItsOwnCell) {
  const uint32_t w = watcher();
  crowd(90, 0, 0);
  crowd(5, 1, 0);  // 32 m: beyond the 20 that are always shown
  seconds(3);
  EXPECT_TRUE(has(w, 0, 0));
  EXPECT_FALSE(has(w, 1, 0));
  const float metres = told(w);
  EXPECT_GE(metres, 20.0F);
  EXPECT_LT(metres, 32.1F);
  h.check_levels();
}

class WideCrowdRadius : public CrowdRadius {
 protected:
  WideCrowdRadius() : CrowdRadius(60, 40) {}
};

TEST_F(WideCrowdRadius, KeepsWhatIsNearerHoweverManyStandThere) {
  const uint32_t w = watcher();
  crowd(90, 0, 0);
  crowd(50, 1, 0);
  crowd(5, 2, 0);  // 96 m
  seconds(3);
  EXPECT_TRUE(has(w, 1, 0));
  EXPECT_FALSE(has(w, 2, 0));
}

TEST_F(CrowdRadius, GrowsAgainWhenTheCrowdHasGone) {
  for (const Encoding encoding : {Encoding::kPacked, Encoding::kProtobuf}) watcher(encoding);
  crowd(30, 0, 0);
  crowd(50, -1, 0);
  seconds(3);
  for (uint32_t w = 0; w < 2; ++w) {
    EXPECT_FALSE(has(w, -1, 0));
    EXPECT_GT(told(w), 0.0F);
  }
  for (uint32_t i = 2; i < h.walkers.size(); ++i) h.disconnect(h.walkers[i]);
  seconds(30);
  for (uint32_t w = 0; w < 2; ++w) {
    EXPECT_TRUE(has(w, -1, 0));
    EXPECT_TRUE(has(w, 2, 0));
    EXPECT_EQ(told(w), 100.0F);
    EXPECT_EQ(table(w).limited_count(), 0u);
  }
  h.check_levels();
}

TEST_F(CrowdRadius, DoesNotSwingWhileTheCrowdStays) {
  const uint32_t w = watcher();
  crowd(31, 0, 0);
  crowd(50, -1, 0);
  // Somebody else of this shard sees those who are too many here: it is known that they stay.
  h.add({-kCell / 2, 0, kCell / 2}, true, Encoding::kPacked);
  seconds(4);
  const uint64_t shrunk = table(w).counters().views_shrunk;
  ASSERT_EQ(h.walkers.back().shard, h.walkers[w].shard);
  EXPECT_FALSE(has(w, -1, 0));
  seconds(40);
  EXPECT_FALSE(has(w, -1, 0));
  EXPECT_LE(table(w).counters().views_shrunk, shrunk + 1);
}

class NoCrowdRadius : public CrowdRadius {
 protected:
  NoCrowdRadius() : CrowdRadius(0, 20) {}
};

TEST_F(NoCrowdRadius, IsOffWithoutALimit) {
  const uint32_t w = watcher();
  crowd(90, 0, 0);
  crowd(90, 1, 0);
  seconds(3);
  EXPECT_TRUE(has(w, 2, 0));
  EXPECT_EQ(told(w), 0.0F);
}

// Who has a cell by its layers takes up the chain without a keyframe: all 60 members, of 36 bytes
// and more in one, are told of in less.
TEST_F(NoCrowdRadius, AChainIsTakenUpWithoutAKeyframe) {
  const uint32_t w = watcher();
  crowd(60, 0, 0);
  seconds(2);
  const auto follows = [&] { return table(w).follows(h.walkers[w].slot, {0, 0}); };
  ASSERT_TRUE(follows());
  for (int round = 0; round < 3; ++round) {
    h.options().ceiling = 1;
    seconds(1);
    ASSERT_FALSE(follows());
    const uint64_t before = h.bytes_sent;
    h.options().ceiling = kFullLevel;
    uint32_t ticks = 0;
    for (; !follows() && ticks < 60; ++ticks) {
      h.send(h.walkers[1], h.walkers[1].position, 0, ticks + 1);  // flags: somebody is told of
      h.step();
    }
    EXPECT_LE(ticks, 2 * kLayerPeriod + 2);
    EXPECT_LT(h.bytes_sent - before, 60 * 30u);
    const uint64_t frames = h.walkers[w].client->frames;
    seconds(1);  // in the chain: the client's model would see a wrong or missing reference
    EXPECT_GT(h.walkers[w].client->frames - frames, 20u);
  }
  h.check();
  h.check_levels();
}

// A budget that does not hold the crowd at full rate.
class ShortBudget : public CrowdRadius {
 protected:
  explicit ShortBudget(uint32_t bytes_per_second = 8000) : CrowdRadius(0, 20) {
    Options o = options(0, 20);
    o.budgets = true;
    o.config.budget.bytes_per_second = bytes_per_second;
    limited = std::make_unique<Harness>(o);
  }
  void run(uint32_t ticks, const std::function<void()>& each) {
    for (uint32_t i = 0; i < ticks; ++i) {
      for (uint32_t k = i % 3; k < limited->walkers.size(); k += 3) {
        Walker& w = limited->walkers[k];
        Steps3 wish = w.position;
        wish[0] += (i / 30 + k) % 2 == 0 ? 2 : -2;
        limited->send(w, wish);
      }
      limited->step();
      each();
    }
  }
  void fill(uint32_t n, int32_t cell_x, int32_t cell_z) {
    for (uint32_t i = 0; i < n; ++i) {
      limited->add({cell_x * kCell + static_cast<int32_t>(i * 131 % 3000), 0,
                    cell_z * kCell + static_cast<int32_t>(i * 577 % 3000)},
                   false, Encoding::kPacked);
    }
  }
  // Whether the first client's image of the cell is of the last tick.
  bool has_this_tick(int16_t cell_x) const {
    const auto& images = limited->walkers[0].client->images;
    const auto it = images.find(CellKey{cell_x, 0});
    return it != images.end() && it->second.header().tick == limited->tick - 1;
  }
  std::unique_ptr<Harness> limited;
};

class ShorterBudget : public ShortBudget {
 protected:
  ShorterBudget() : ShortBudget(5000) {}
};

TEST_F(ShorterBudget, LeavesItsOwnCellAtFullRate) {
  Harness& l = *limited;
  // 4 m from the next cell, which is full rate by distance.
  l.add({3000, 0, 1600}, true, Encoding::kPacked);
  fill(150, 0, 0);
  for (uint32_t i = 0; i < 300; ++i) {
    l.add({kCell + 100 + static_cast<int32_t>(i * 131 % 3000), 0,
           static_cast<int32_t>(i * 577 % 3000)},
          false, Encoding::kPacked);
  }
  run(900, [] {});
  uint32_t own = 0;
  uint32_t other = 0;
  run(240, [&] {
    own += has_this_tick(0);
    other += has_this_tick(1);
  });
  EXPECT_GT(own, 230u);
  EXPECT_LT(other, 180u);  // slower, or not at all
  l.check_levels();
}

// What the client touches comes at full rate too when the budget holds it, what is further away at
// the lowest; nothing begins anew once that is found.
TEST_F(ShortBudget, KeepsWhatItTouchesAtFullRateWithoutKeyframes) {
  Harness& l = *limited;
  l.add({3000, 0, 1600}, true, Encoding::kPacked);  // 4 m from the cell (1, 0), 32 m from (0, 1)
  fill(60, 0, 0);
  fill(100, 1, 0);
  fill(300, 0, 1);
  run(1800, [] {});
  const uint64_t stale = l.interest(0).counters().cells_stale;
  const uint64_t raised = l.interest(0).counters().levels_raised;
  const uint64_t joins = l.interest(0).counters().joins;
  uint32_t own = 0;
  uint32_t touched = 0;
  run(240, [&] {
    own += has_this_tick(0);
    touched += has_this_tick(1);
  });
  EXPECT_GT(own, 230u);
  EXPECT_GT(touched, 230u);
  EXPECT_EQ(l.interest(0).counters().cells_stale, stale);
  EXPECT_EQ(l.interest(0).counters().levels_raised, raised);
  EXPECT_LE(l.interest(0).counters().joins, joins + 1);
  l.check_levels();
}

}  // namespace
}  // namespace tidegate::world::test
