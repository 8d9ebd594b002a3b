// SPDX-License-Identifier: Apache-2.0
// What a game decides inside a slice: its word on inputs and refused moves, entities it places, and
// custom state on its way to protobuf watchers and to other slices.
#include <gtest/gtest.h>

#include "harness.h"

namespace tidegate::world::test {
namespace {

WorldConfig config_of(uint32_t shards = 1) {
  WorldConfig config;
  config.shard_count = shards;
  config.entities = 128;
  config.cells = 128;
  config.max_speed = 60.0F;
  config.custom_state = true;
  for (int axis : {0, 2}) {
    config.bounds_min[axis] = -200.0F;
    config.bounds_max[axis] = 200.0F;
  }
  return config;
}

struct Game : SliceHooks {
  uint16_t before_input(EntitySlot, Input* input) override {
    ++inputs;
    input->flags |= add_flags;
    return refuse;
  }
  Verdict on_violation(EntitySlot, const Input& input, uint16_t reason) override {
    wanted = input.position;
    reasons.push_back(reason);
    return verdict;
  }
  void changed(EntitySlot, uint8_t fields) override { changes.push_back(fields); }

  uint16_t refuse = 0;
  uint32_t add_flags = 0;
  Verdict verdict = Verdict::kCorrect;
  uint32_t inputs = 0;
  Steps3 wanted{};
  std::vector<uint16_t> reasons;
  std::vector<uint8_t> changes;
};

class SliceHooksTest : public ::testing::Test {
 protected:
  SliceHooksTest() : h_({.config = config_of()}) {
    h_.slice(0).set_hooks(&game_);
    h_.add({0, 0, 0}, false, Encoding::kPacked);
    h_.step();
  }
  Walker& walker() { return h_.walkers[0]; }
  const MoveResult& answer(const Steps3& wish, uint8_t yaw = 0) {
    h_.send(walker(), wish, yaw);
    h_.step();
    return walker().last;
  }
  const Image& image() { return h_.slice(0).entities().image(0); }

  Harness h_;
  Game game_;
};

TEST_F(SliceHooksTest, SeesEveryInputAndWhatItChanged) {
  EXPECT_EQ(answer({5, 0, 0}, 7).corrected, 0);
  EXPECT_EQ(game_.inputs, 1u);
  ASSERT_EQ(game_.changes.size(), 1u);
  EXPECT_EQ(game_.changes[0], kChangedPosition | kChangedYaw | kChangedVelocity);
  answer({5, 0, 0}, 7);  // nothing new
  EXPECT_EQ(game_.inputs, 2u);
  EXPECT_EQ(game_.changes.size(), 1u);
  game_.add_flags = 64;
  answer({5, 0, 0}, 7);
  EXPECT_EQ(image().flags, 64u);
  EXPECT_EQ(game_.changes.back(), kChangedFlags);
}

TEST_F(SliceHooksTest, ARefusalCorrectsTheClientWithItsCode) {
  game_.refuse = 4321;
  const MoveResult& r = answer({5, 0, 0}, 7);
  EXPECT_EQ(r.corrected, 1);
  EXPECT_EQ(r.reason, 4321);
  EXPECT_EQ(r.position, (Steps3{0, 0, 0}));
  EXPECT_EQ(image().yaw, 0);  // nothing of a refused input is applied
  EXPECT_EQ(h_.slice(0).counters().inputs_refused_hook, 1u);
  EXPECT_TRUE(game_.changes.empty());
  game_.refuse = 0;
  EXPECT_EQ(answer({5, 0, 0}).corrected, 0);
}

TEST_F(SliceHooksTest, AViolationIsCorrectedOrForgivenWithinTheBounds) {
  EXPECT_EQ(answer({9'000, 0, 0}).reason, kReasonSpeed);
  EXPECT_EQ(game_.wanted, (Steps3{9'000, 0, 0}));
  game_.verdict = Verdict::kForgive;
  EXPECT_EQ(answer({9'000, 0, 0}).corrected, 0);
  EXPECT_EQ(walker().last.position, (Steps3{9'000, 0, 0}));
  EXPECT_EQ(answer({11'000, 3, 0}).corrected, 0);
  EXPECT_EQ(walker().last.position, (Steps3{10'000, 3, 0}));  // cut to the edge
  EXPECT_EQ(game_.reasons, (std::vector<uint16_t>{kReasonSpeed, kReasonSpeed, kReasonBounds}));
  const SliceCounters& c = h_.slice(0).counters();
  EXPECT_EQ(c.violations_forgiven, 2u);
  EXPECT_EQ(c.inputs_refused_speed, 1u);
  EXPECT_EQ(h_.slice(0).entities().control(0).violations, 3u);
}

TEST_F(SliceHooksTest, APlacedPlayerIsToldWhereItIs) {
  Input to{};
  to.position = {70'000, 5, -70'000};
  to.has = Input::kPosition;
  EXPECT_EQ(h_.slice(0).place({99}, to).status, QueueStatus::kUnknown);
  ASSERT_EQ(h_.slice(0).place(walker().id, to).status, QueueStatus::kOk);
  h_.step();
  EXPECT_EQ(walker().corrections, 1u);
  EXPECT_EQ(walker().last.reason, 0);
  EXPECT_EQ(walker().last.position, (Steps3{10'000, 5, -10'000}));
  // What is not a new place is not a correction.
  to.position = {10'000, 5, -10'000};
  to.flags = 3;
  to.has = Input::kPosition | Input::kFlags;
  ASSERT_EQ(h_.slice(0).place(walker().id, to).status, QueueStatus::kOk);
  h_.step();
  EXPECT_EQ(walker().corrections, 1u);
  EXPECT_EQ(image().flags, 3u);
  EXPECT_TRUE(game_.changes.empty());  // not an input
}

TEST(Room, WhatIsNoPlayerHasItsOwn) {
  WorldConfig config = config_of();
  config.entities = 10;
  config.npcs = 4;
  WorldSlice slice(config, {0});
  SpawnSpec spec;
  spec.player_id = "somebody";
  const auto spawn = [&](uint32_t id, EntityKind kind) {
    spec.kind = kind;
    return slice.spawn({id}, spec, 1);
  };
  for (uint32_t i = 1; i <= 4; ++i) ASSERT_EQ(spawn(i, EntityKind::kNpc), SpawnStatus::kOk);
  EXPECT_EQ(spawn(5, EntityKind::kObject), SpawnStatus::kFull);
  for (uint32_t i = 5; i <= 10; ++i) ASSERT_EQ(spawn(i, EntityKind::kPlayer), SpawnStatus::kOk);
  EXPECT_EQ(spawn(11, EntityKind::kPlayer), SpawnStatus::kFull);
  EXPECT_EQ(slice.entities().others(), 4u);
}

struct Transfers : SliceEvents {
  bool moved(ShardId, ConnectionRef, const MoveResult&) override { return true; }
  bool transfer(ShardId, base::Bytes entity) override {
    sent.emplace_back(entity.begin(), entity.end());
    return true;
  }
  bool gone(EntityId, std::string_view, const Steps3&) override { return true; }
  std::vector<std::vector<uint8_t>> sent;
};

TEST(Room, WhatIsNoPlayerIsRefusedWhereItsRoomIsFull) {
  WorldConfig config = config_of(2);
  config.npcs = 1;
  // A border along x between the slices.
  int32_t x = -6400;
  const auto owner = [](int32_t at) { return owner_of({static_cast<int16_t>(at / 3200), 0}, 2); };
  while (x < 6400 && owner(x) == owner(x + 3200)) x += 3200;
  ASSERT_NE(owner(x), owner(x + 3200));
  WorldSlice from(config, owner(x)), to(config, owner(x + 3200));
  SpawnSpec spec;
  spec.kind = EntityKind::kNpc;
  spec.player_id = "here before";
  spec.position = {x + 3200, 0, 0};
  ASSERT_EQ(to.spawn({9}, spec, 1), SpawnStatus::kOk);
  Transfers events;
  const auto cross = [&](uint32_t id, EntityKind kind) {
    spec.kind = kind;
    spec.player_id = "comes";
    spec.position = {x, 0, 0};
    spec.tag = 77;
    EXPECT_EQ(from.spawn({id}, spec, id), SpawnStatus::kOk);
    Input over{};
    over.position = {x + 3201, 0, 0};
    over.has = Input::kPosition;
    EXPECT_EQ(from.place({id}, over).status, QueueStatus::kOk);
    from.simulate(id, events);
    EXPECT_EQ(events.sent.size(), 1u);
    const std::vector<uint8_t> bytes = std::move(events.sent.at(0));
    events.sent.clear();
    return to.arrive({bytes.data(), bytes.size()}, id, events);
  };
  EXPECT_FALSE(cross(10, EntityKind::kNpc).valid());
  EXPECT_EQ(to.counters().arrivals_refused, 1u);
  EXPECT_TRUE(cross(11, EntityKind::kPlayer).valid());
  ASSERT_EQ(to.remove({9}).status, QueueStatus::kOk);
  to.simulate(12, events);
  to.simulate(13, events);
  EXPECT_TRUE(cross(14, EntityKind::kObject).valid());
  EXPECT_EQ(to.entities().control(to.entities().find({14})).tag, 77u);
}

TEST(Custom, AChangeIsOfUseOnlyToThoseWhoHaveTheWholeBefore) {
  Custom c;
  c.clear();
  const auto text = [](base::Bytes b) { return std::string(base::as_text(b)); };
  c.set(base::as_bytes("one"), base::as_bytes("+1"));
  EXPECT_EQ(c.dirty, Custom::kWhole);  // nobody has anything yet
  EXPECT_EQ(text(c.change()), "one");
  c.dirty = Custom::kClean;
  c.set(base::as_bytes("two"), base::as_bytes("+2"));
  EXPECT_EQ(text(c.change()), "+2");
  EXPECT_EQ(text(c.state()), "two");
  c.set(base::as_bytes("three"), base::as_bytes("+3"));  // +2 has not been told
  EXPECT_EQ(text(c.change()), "three");
  c.dirty = Custom::kClean;
  c.set(base::as_bytes("four"), {});
  EXPECT_EQ(text(c.change()), "four");
  c.set({}, base::as_bytes("+5"));
  EXPECT_EQ(c.dirty, Custom::kClean);  // none is not told
  EXPECT_TRUE(c.state().empty());
}

// Whole states of entities that walk over cells and slices, and appear before new watchers: every
// picture has the owner's bytes as soon as they are told.
TEST(Custom, ReachesEveryWatcherOnWhateverSlice) {
  for (const uint32_t shards : {1u, 2u, 4u}) {
    Harness h({.config = config_of(shards), .seed = shards});
    base::Prng prng(7);
    const auto anywhere = [&] { return static_cast<int32_t>(prng.between(-9'000, 9'000)); };
    for (uint32_t i = 0; i < 40; ++i) {
      h.add({anywhere(), 0, anywhere()}, i < 6,
            i % 3 == 0 ? Encoding::kPacked : Encoding::kProtobuf, 0,
            i < 6 ? EntityKind::kPlayer : EntityKind::kNpc);
    }
    for (uint32_t tick = 0; tick < 400; ++tick) {
      for (Walker& w : h.walkers) {
        Steps3 wish = w.position;
        wish[0] += static_cast<int32_t>(prng.between(-60, 60));
        wish[2] += static_cast<int32_t>(prng.between(-60, 60));
        if (prng.chance(0.5)) h.send(w, h.slice(0).scale().clamp(wish));
        if (!prng.chance(0.2)) continue;
        const std::string custom(1 + prng.below(kCustomBytesMax),
                                 static_cast<char>('a' + tick % 26));
        const Queued q = h.route(w, [&](WorldSlice& slice) {
          return slice.set_custom(w.id, base::as_bytes(custom), {});
        });
        ASSERT_EQ(q.status, QueueStatus::kOk);
      }
      h.step();
      ASSERT_NO_FATAL_FAILURE(h.check()) << "tick " << tick << ", " << shards << " slices";
    }
    uint64_t customs = 0;
    for (const Walker& w : h.walkers) customs += w.client ? w.client->customs : 0;
    EXPECT_GT(customs, 2'000u);
  }
}

}  // namespace
}  // namespace tidegate::world::test
