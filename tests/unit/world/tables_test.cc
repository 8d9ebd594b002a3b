// SPDX-License-Identifier: Apache-2.0
// Maps, names, the entity table, the directory, cell slots, configuration.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <unordered_map>

#include "base/prng.h"
#include "world/cell_streams.h"
#include "world/directory.h"
#include "world/entity_table.h"
#include "world/flat_map.h"

namespace tidegate::world {
namespace {

template <class Map>
void compare_with_a_reference() {
  Map map(300);
  std::unordered_map<uint32_t, uint32_t> reference;
  base::Prng prng(3);
  for (int i = 0; i < 60'000; ++i) {
    const auto key = static_cast<uint32_t>(prng.below(600)) * (i % 2 ? 1 : 0x10001);
    const auto found = reference.find(key);
    ASSERT_EQ(map.find(key), found == reference.end() ? Map::kAbsent : found->second);
    if (found != reference.end()) {
      map.erase(key);
      reference.erase(found);
    } else if (reference.size() < 300) {
      map.insert(key, static_cast<uint32_t>(i));
      reference[key] = static_cast<uint32_t>(i);
    }
    ASSERT_EQ(map.count(), reference.size());
  }
}

TEST(FlatMap, AgreesWithAReferenceOverManySteps) { compare_with_a_reference<FlatMap>(); }
TEST(FlatMap, ByCellAgreesToo) { compare_with_a_reference<CellMap>(); }

TEST(FlatMap, NeighbouringCellsLieTogether) {
  const uint32_t first = hash_cell(CellKey{-8, 16}.packed());
  for (int16_t x = -8; x < 0; ++x) {
    for (int16_t z = 16; z < 24; ++z) EXPECT_EQ(hash_cell(CellKey{x, z}.packed()) >> 6, first >> 6);
  }
  EXPECT_NE(hash_cell(CellKey{0, 16}.packed()) >> 6, first >> 6);
}

TEST(FlatMap, TakesAsManyAsItsLimit) {
  for (uint32_t limit : {1u, 4u, 12u, 13u, 51u, 52u, 1000u, 52'428u}) {
    FlatMap map(limit);
    for (uint32_t key = 0; key < limit; ++key) map.insert(key * 977, key);
    for (uint32_t key = 0; key < limit; ++key) ASSERT_EQ(map.find(key * 977), key);
    ASSERT_EQ(map.find(1), FlatMap::kAbsent);
  }
}

TEST(NameSlab, KeepsNamesOfAllLengthsApart) {
  NameSlab slab(64);
  std::map<int, std::pair<NameRef, std::string>> live;
  base::Prng prng(4);
  for (int i = 0; i < 20'000; ++i) {
    const int key = static_cast<int>(prng.below(64));
    const auto found = live.find(key);
    if (found == live.end()) {
      const std::string name(1 + prng.below(64), static_cast<char>('a' + i % 26));
      live[key] = {slab.add(name), name};
    } else {
      ASSERT_EQ(slab.view(found->second.first), found->second.second);
      slab.remove(found->second.first);
      live.erase(found);
    }
  }
}

TEST(EntityTable, ForwardingAddressesExpireAndMakeRoom) {
  EntityTable table(4);
  for (uint32_t i = 1; i <= 6; ++i) table.forward({i}, {static_cast<uint16_t>(i)}, i);
  EXPECT_FALSE(table.forwarded_to({2}).valid());  // the oldest made room
  EXPECT_EQ(table.forwarded_to({3}).value, 3);
  ASSERT_EQ(table.add({4}, "back", EntityKind::kPlayer), 0u);
  EXPECT_FALSE(table.forwarded_to({4}).valid());  // it is here again
  table.forward({5}, {9}, 60);
  table.expire_forwards(6 + EntityTable::kForwardTicks);
  EXPECT_EQ(table.forwarded_to({6}).value, 6);
  table.expire_forwards(7 + EntityTable::kForwardTicks);
  EXPECT_FALSE(table.forwarded_to({6}).valid());
  EXPECT_EQ(table.forwarded_to({5}).value, 9);
}

TEST(EntityTable, LimitAndReuse) {
  EntityTable table(3);
  EXPECT_EQ(table.add({10}, "a", EntityKind::kPlayer), 0u);
  EXPECT_EQ(table.add({11}, "b", EntityKind::kNpc), 1u);
  EXPECT_EQ(table.add({12}, "c", EntityKind::kPlayer), 2u);
  EXPECT_EQ(table.add({13}, "d", EntityKind::kPlayer), kNoEntity);
  table.image(1).flags = 9;
  table.remove(1);
  EXPECT_EQ(table.find({11}), kNoEntity);
  EXPECT_EQ(table.add({13}, "d", EntityKind::kPlayer), 1u);
  EXPECT_EQ(table.image(1).flags, 0u);
  EXPECT_EQ(table.player_id(1), "d");
}

class SlotsTest : public ::testing::Test {
 protected:
  EntitySlot enter(uint32_t id) {
    const EntitySlot s = entities_.add({id}, "n", EntityKind::kPlayer);
    streams_.enter(cell_, entities_, s, nullptr, 1);
    return s;
  }
  uint16_t slot(EntitySlot s) { return entities_.membership(s).slot; }
  void leave(EntitySlot s) {
    streams_.leave(entities_, s, nullptr, 1);
    entities_.remove(s);
  }
  void frame() { streams_.finish_frame(cell_, entities_); }

  EntityTable entities_{200};
  CellStreams streams_{8, 200};
  uint32_t cell_ = streams_.obtain({0, 0});
};

TEST_F(SlotsTest, AreUsedAgainOnlyAfter64Frames) {
  streams_.cell(cell_).packed_readers = 1;
  for (uint32_t i = 1; i <= 20; ++i) EXPECT_EQ(slot(enter(i)), i - 1);
  frame();
  leave(entities_.find({4}));  // slot 3, told in frame 2
  frame();
  uint32_t id = 100;
  for (uint32_t f = 3; f < 2 + kSlotRestFrames; ++f) {
    const EntitySlot s = enter(id++);
    EXPECT_NE(slot(s), 3) << "in frame " << f;
    frame();
  }
  EXPECT_EQ(slot(enter(id++)), 3);  // frame 66
  EXPECT_EQ(streams_.early_reuses(), 0u);
}

TEST_F(SlotsTest, NeedNoRestWithoutReaders) {
  for (uint32_t i = 1; i <= 20; ++i) enter(i);
  frame();
  leave(entities_.find({4}));
  frame();
  EXPECT_EQ(slot(enter(50)), 3);
}

TEST_F(SlotsTest, ComeAndGoForeverInOnePool) {
  streams_.cell(cell_).packed_readers = 1;
  const uint32_t other = streams_.obtain({1, 0});
  streams_.cell(other).packed_readers = 1;
  base::Prng prng(8);
  std::set<uint32_t> here;
  uint32_t id = 1;
  for (int f = 0; f < 3000; ++f) {
    for (int i = 0; i < 6; ++i) {
      if (here.size() < 200 && prng.chance(0.6)) {
        const EntitySlot s = entities_.add({id}, "n", EntityKind::kPlayer);
        streams_.enter(id % 2 ? cell_ : other, entities_, s, nullptr, 1);
        here.insert(id++);
      } else if (!here.empty()) {
        const uint32_t gone = *std::next(here.begin(), static_cast<long>(prng.below(here.size())));
        leave(entities_.find({gone}));
        here.erase(gone);
      }
    }
    frame();
    streams_.finish_frame(other, entities_);
    // Each member stands in one slot, slots ascend.
    size_t members = 0;
    for (const uint32_t c : {cell_, other}) {
      int last = -1;
      streams_.for_each_member(streams_.cell(c), [&](uint16_t s, EntitySlot e) {
        ASSERT_GT(static_cast<int>(s), last);
        last = s;
        ASSERT_EQ(entities_.membership(e).slot, s);
        ++members;
      });
    }
    ASSERT_EQ(members, here.size());
  }
}

TEST(Directory, FindsUpdatesAndEvictsTheLongestUnseen) {
  Directory directory(3);
  DirectoryEntry* a = directory.insert("anna", 1);
  a->position = {1, 2, 3};
  a->has_position = 1;
  a->entity = {5};
  directory.update(a, 2);
  ASSERT_NE(directory.insert("bert", 3), nullptr);
  ASSERT_NE(directory.insert("cora", 4), nullptr);
  EXPECT_EQ(directory.offline_count(), 2u);
  directory.update(directory.find("bert"), 5);  // seen again
  ASSERT_NE(directory.insert("dora", 6), nullptr);
  EXPECT_EQ(directory.find("cora"), nullptr);
  ASSERT_NE(directory.find("bert"), nullptr);
  EXPECT_EQ(directory.insert("anna", 7)->position, (Steps3{1, 2, 3}));
  for (const char* name : {"bert", "dora"}) {
    directory.find(name)->connection = {1, 1};
    directory.update(directory.find(name), 8);
  }
  EXPECT_EQ(directory.insert("emil", 9), nullptr);  // all online
  directory.erase("anna");
  EXPECT_NE(directory.insert("emil", 9), nullptr);
  EXPECT_EQ(directory.insert("", 9), nullptr);
  EXPECT_EQ(directory.insert(std::string(65, 'x'), 9), nullptr);
}

TEST(Directory, AgreesWithAReferenceOverManySteps) {
  Directory directory(100);
  std::set<std::string> reference;
  base::Prng prng(5);
  for (int i = 0; i < 30'000; ++i) {
    const std::string name = "p" + std::to_string(prng.below(150));
    ASSERT_EQ(directory.find(name) != nullptr, reference.count(name) == 1);
    if (reference.count(name)) {
      directory.erase(name);
      reference.erase(name);
    } else if (reference.size() < 100) {
      ASSERT_NE(directory.insert(name, static_cast<uint32_t>(i)), nullptr);
      reference.insert(name);
    }
    ASSERT_EQ(directory.count(), reference.size());
  }
}

TEST(Owner, BlocksAreSpreadAndHomesToo) {
  uint32_t cells[4] = {}, homes[4] = {};
  for (int16_t x = -64; x < 64; ++x) {
    for (int16_t z = -64; z < 64; ++z) ++cells[owner_of({x, z}, 4).value];
  }
  for (int i = 0; i < 10'000; ++i) ++homes[home_of("player" + std::to_string(i), 4).value];
  for (int s = 0; s < 4; ++s) {
    EXPECT_NEAR(cells[s], 4096, 400);
    EXPECT_NEAR(homes[s], 2500, 250);
  }
  EXPECT_EQ(owner_of({-2, 4}, 4), owner_of({-1, 5}, 4));  // one block
}

TEST(WorldConfig, ChecksEachKey) {
  const auto with = [](auto&& change) {
    WorldConfig config;
    change(config);
    return config.check();
  };
  EXPECT_EQ(with([](WorldConfig&) {}), ConfigStatus::kOk);
  EXPECT_EQ(with([](WorldConfig& c) { c.tick_rate = 0; }), ConfigStatus::kTickRate);
  EXPECT_EQ(with([](WorldConfig& c) { c.cell_size = 64.01F; }), ConfigStatus::kCellSize);
  EXPECT_EQ(with([](WorldConfig& c) { c.cell_size = std::nanf(""); }), ConfigStatus::kCellSize);
  EXPECT_EQ(with([](WorldConfig& c) { c.view_distance = 300; }), ConfigStatus::kViewDistance);
  EXPECT_EQ(with([](WorldConfig& c) { c.max_speed = 0; }), ConfigStatus::kSpeed);
  EXPECT_EQ(with([](WorldConfig& c) { c.bounds_min[0] = 5000; }), ConfigStatus::kBounds);
  EXPECT_EQ(with([](WorldConfig& c) { c.bounds_max[2] = 1e9F; }), ConfigStatus::kBounds);
  EXPECT_EQ(with([](WorldConfig& c) { c.spawn[1] = 900; }), ConfigStatus::kSpawn);
  EXPECT_EQ(with([](WorldConfig& c) { c.shard_count = 65; }), ConfigStatus::kLimits);
  for (int i = 0; i <= static_cast<int>(ConfigStatus::kLimits); ++i) {
    EXPECT_STRNE(describe(static_cast<ConfigStatus>(i)), "?");
  }
  const WorldScale scale{WorldConfig{}};
  EXPECT_EQ(scale.cell_steps, 3200);
  EXPECT_EQ(scale.cell_of({-1, 0, 3200}), (CellKey{-1, 1}));
  EXPECT_EQ(scale.cell_of({-3200, 0, -3201}), (CellKey{-1, -2}));
  EXPECT_EQ(scale.linger_ticks, 600u);
}

}  // namespace
}  // namespace tidegate::world
