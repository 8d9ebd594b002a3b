// SPDX-License-Identifier: Apache-2.0
// The balancer against made-up shards whose work follows from the cells they own.
#include "balance/balancer.h"

#include <gtest/gtest.h>

#include <map>

#include "base/prng.h"

namespace tidegate::balance {
namespace {

using mailbox::CellLoad;
using world::CellKey;

Settings settings_for(uint32_t shards) {
  Settings s;
  s.shards = shards;
  s.cells = 256;
  s.hold = 20;
  return s;
}

// Cells with so many entities; each record costs a microsecond, each shard has sends of its own.
class World {
 public:
  explicit World(const Settings& settings)
      : settings_(settings), balancer_(settings), owners_(settings.shards, settings.cells) {}

  void put(CellKey key, uint32_t entities) { cells_[key] = entities; }
  void own(CellKey key, uint16_t shard) { owners_.move(key, {shard}); }
  std::vector<Move> round() {
    std::vector<Move> moves;
    ++tick_;
    for (uint32_t s = 0; s < settings_.shards; ++s) {
      std::vector<CellLoad> cells;
      mailbox::ShardLoad load{};
      load.tick = tick_;
      load.entities_limit = limit;
      load.others_limit = others_limit;
      load.flush_ns = flush_ns;
      for (const auto& [key, n] : cells_) {
        if (owners_.owner(key).value != s || n == 0) continue;
        cells.push_back({key.x, key.z, n, n / 2, n * 60});
        load.others += n / 2;
        load.entities += n;
        load.records += n * 60;
        load.world_ns += n * 1000;
      }
      if (noise != 0) load.world_ns += static_cast<uint32_t>(prng_.below(noise));
      for (const Move& m : balancer_.on_report(s, load, cells)) moves.push_back(m);
    }
    for (const Move& m : moves) {
      EXPECT_EQ(owners_.owner(m.cell).value, m.from);
      EXPECT_NE(m.from, m.to);
      if (!lost) owners_.move(m.cell, {m.to});
    }
    return moves;
  }
  std::vector<uint32_t> entities() const {
    std::vector<uint32_t> sums(settings_.shards);
    for (const auto& [key, n] : cells_) sums[owners_.owner(key).value] += n;
    return sums;
  }
  const Balancer& balancer() const { return balancer_; }
  const world::OwnerMap& owners() const { return owners_; }
  uint32_t flush_ns = 200'000;
  uint32_t noise = 0;
  uint32_t limit = 10'000, others_limit = 10'000;  // of each shard
  bool lost = false;                               // orders come to nothing

 private:
  Settings settings_;
  Balancer balancer_;
  world::OwnerMap owners_;
  std::map<CellKey, uint32_t> cells_;
  base::Prng prng_{3};
  uint32_t tick_ = 0;
};

// Ten full cells, all of one shard.
void crowd(World& world, uint32_t each = 100) {
  int placed = 0;
  for (int16_t x = 0; placed < 10; ++x) {
    const CellKey key{x, 0};
    world.put(key, each);
    world.own(key, 0);
    ++placed;
  }
}

TEST(Balancer, EvensOutACrowdAndThenRests) {
  World world(settings_for(2));
  crowd(world);
  uint32_t moves = 0;
  for (int i = 0; i < 60; ++i) moves += static_cast<uint32_t>(world.round().size());
  const auto sums = world.entities();
  EXPECT_EQ(sums[0] + sums[1], 1000u);
  EXPECT_GE(sums[0], 400u);
  EXPECT_LE(sums[0], 600u);
  EXPECT_GE(moves, 4u);
  EXPECT_LE(moves, 6u) << "no cell goes to and fro";
  EXPECT_LE(world.balancer().spread(), 25u);
}

TEST(Balancer, IsPatientAndStaysCalmBelowItsThresholds) {
  World world(settings_for(2));
  crowd(world);
  EXPECT_TRUE(world.round().empty());
  EXPECT_TRUE(world.round().empty());
  EXPECT_FALSE(world.round().empty()) << "the third round in a row";

  World quiet(settings_for(2));
  crowd(quiet, 10);  // 0.3 ms of work in all
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(quiet.round().empty());

  World even(settings_for(2));
  crowd(even);
  for (int16_t x = 0; x < 5; ++x) even.own({x, 0}, 1);
  even.noise = 100'000;
  for (int i = 0; i < 200; ++i) EXPECT_TRUE(even.round().empty()) << "noise moves nothing";
}

// A cell with most of the work would only carry the load to the other side.
TEST(Balancer, OneDenseCellStaysAndTheOthersMakeRoomForIt) {
  World world(settings_for(2));
  for (int16_t x = 0; x < 4; ++x) {
    world.put({x, 0}, x == 0 ? 3000 : 300);
    world.own({x, 0}, 0);
  }
  for (int i = 0; i < 100; ++i) {
    for (const Move& m : world.round()) EXPECT_NE(m.cell, (CellKey{0, 0}));
  }
  EXPECT_EQ(world.owners().owner({0, 0}).value, 0);
  EXPECT_EQ(world.entities()[0], 3000u);
}

TEST(Balancer, ACellStaysForAWhileAndAnEmptyOneGoesBack) {
  Settings settings = settings_for(2);
  World world(settings);
  crowd(world);
  std::map<CellKey, int> last;
  for (int i = 0; i < 400; ++i) {
    // The crowd walks: the load turns over.
    if (i == 100 || i == 200) {
      for (int16_t x = 0; x < 10; ++x) world.put({x, 0}, (x < 5) == (i == 100) ? 190 : 10);
    }
    if (i == 300) {
      for (int16_t x = 0; x < 10; ++x) world.put({x, 0}, 0);
    }
    for (const Move& m : world.round()) {
      const auto at = last.find(m.cell);
      if (at != last.end()) {
        EXPECT_GE(i - at->second, static_cast<int>(settings.hold));
      }
      last[m.cell] = i;
    }
  }
  EXPECT_EQ(world.balancer().cells_away(), 0u);
}

TEST(Balancer, LostOrdersAreGivenAgain) {
  World world(settings_for(2));
  crowd(world);
  world.lost = true;
  for (int i = 0; i < 30; ++i) world.round();
  EXPECT_EQ(world.entities()[1], 0u);
  world.lost = false;
  for (int i = 0; i < 60; ++i) world.round();
  EXPECT_GE(world.entities()[1], 400u);
}

TEST(Balancer, FourShardsShareOneCrowd) {
  World world(settings_for(4));
  for (int16_t x = 0; x < 8; ++x) {
    for (int16_t z = 0; z < 8; ++z) {
      world.put({x, z}, 30);
      world.own({x, z}, 2);
    }
  }
  for (int i = 0; i < 200; ++i) world.round();
  for (const uint32_t n : world.entities()) {
    EXPECT_GT(n, 300u);
    EXPECT_LT(n, 700u);
  }
}

// The phases of a tick wait for each other: sends of one phase do not make up for another.
TEST(Balancer, SendsDoNotCount) {
  World world(settings_for(2));
  crowd(world);
  world.flush_ns = 50'000'000;
  for (int i = 0; i < 60; ++i) world.round();
  EXPECT_GE(world.entities()[1], 400u);
}

// A tenth of a shard's room is left for those who come by themselves.
TEST(Balancer, FillsNoShardBeyondItsRoom) {
  World full(settings_for(2));
  crowd(full);
  full.limit = 300;
  for (int i = 0; i < 60; ++i) full.round();
  EXPECT_EQ(full.entities()[1], 200u);
  World npcs(settings_for(2));
  crowd(npcs);
  npcs.others_limit = 200;
  for (int i = 0; i < 60; ++i) npcs.round();
  EXPECT_EQ(npcs.entities()[1], 300u) << "half of them are no players";
}

TEST(Balancer, KeepsToItsLimitOfCells) {
  Settings settings = settings_for(2);
  settings.cells = 3;
  World world(settings);
  // By the rule all of them are shard 0's.
  int placed = 0;
  for (int16_t x = 0; placed < 12; ++x) {
    const CellKey key{x, 7};
    if (world::owner_of(key, 2).value != 0) continue;
    world.put(key, 100);
    ++placed;
  }
  for (int i = 0; i < 100; ++i) world.round();
  EXPECT_EQ(world.owners().moved(), 3u);
}

}  // namespace
}  // namespace tidegate::balance
