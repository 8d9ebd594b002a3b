// SPDX-License-Identifier: Apache-2.0
// A world that goes on in another process: entities with what input needs, and clients that need
// not wait for their cells' turn.
#include <gtest/gtest.h>

#include "harness.h"

namespace tidegate::world::test {
namespace {

WorldConfig config_of() {
  WorldConfig config;
  config.entities = 64;
  config.cells = 64;
  config.linger_ms = 1000;  // 60 ticks
  return config;
}

struct Events : SliceEvents {
  bool moved(ShardId, ConnectionRef, const MoveResult& result) override {
    results.push_back(result);
    return true;
  }
  bool transfer(ShardId, base::Bytes) override { return false; }
  bool gone(EntityId, std::string_view, const Steps3&) override {
    ++gones;
    return true;
  }
  void taken(EntityId, std::string_view, bool) override { ++homes_told; }
  uint32_t homes_told = 0;
  std::vector<MoveResult> results;
  int gones = 0;
};
struct Sink : PublicationSink {
  void publish(ShardId, const Publication& p) override { publications.push_back(p); }
  std::vector<Publication> publications;
};

// Whatever its phase, a cell that packed clients begin anew has its keyframe in the first tick.
TEST(Handover, EveryCellHasItsKeyframeInTheFirstTick) {
  for (const bool anew : {true, false}) {
    uint32_t answered = 0;
    for (uint32_t tick = 1000; tick < 1000 + kLayerPeriod; ++tick) {
      WorldSlice slice(config_of(), {0});
      if (anew) slice.begin_anew(tick);
      SpawnSpec spec;
      spec.player_id = "ann";
      spec.connection_shard = {0};
      spec.connection = {1, 1};
      ASSERT_EQ(slice.spawn({77}, spec, tick), SpawnStatus::kOk);
      const CellKey cell = slice.scale().cell_of({});
      ASSERT_TRUE(slice.subscribe({0}, cell, 1 << kFullLevel, 0, kPackedKeyframe));
      Events events;
      Sink sink;
      slice.simulate(tick, events);
      ASSERT_EQ(events.results.size(), 1u) << "the connection's shard hears where it is";
      EXPECT_EQ(events.results[0].acknowledges, 0);
      slice.encode(tick, 0, sink);
      for (const Publication& p : sink.publications) {
        answered += (p.answered & kPackedKeyframe) != 0 && p.packed_keyframe.count != 0;
      }
    }
    EXPECT_EQ(answered, anew ? kLayerPeriod : 1u);
  }
}

TEST(Handover, WhatInputNeedsIsAsItWas) {
  constexpr uint32_t kTick = 500;
  WorldSlice slice(config_of(), {0});
  SpawnSpec spec;
  spec.player_id = "ann";
  spec.connection_shard = {0};
  spec.connection = {1, 1};
  ASSERT_EQ(slice.spawn({77}, spec, kTick), SpawnStatus::kOk);
  Control control = slice.entities().control(slice.entities().find({77}));
  control.client_tick = 40;
  control.budget = 0;  // it has just run as far as it may
  control.budget_tick = kTick;
  slice.restore_control({77}, control);
  const auto move = [&](uint32_t client_tick, int32_t x) {
    Input input{};
    input.has = Input::kPosition;
    input.position = {x, 0, 0};
    input.client_tick = client_tick;
    EXPECT_EQ(slice.queue_input({77}, input).status, QueueStatus::kOk);
  };
  move(39, 1);       // applied there already
  move(41, 10'000);  // further than it may go at once
  uint32_t waiting = 0;
  slice.for_each_input([&](base::EntityId id, const Input&) { waiting += id.value == 77; });
  EXPECT_EQ(waiting, 2u);
  Events events;
  slice.simulate(kTick, events);
  EXPECT_EQ(slice.counters().inputs_stale, 1u);
  EXPECT_EQ(slice.counters().inputs_refused_speed, 1u);
  EXPECT_EQ(events.homes_told, 1u) << "the home may know an owner before this one";
  EXPECT_EQ(slice.entities().image(slice.entities().find({77})).position, Steps3{});
}

TEST(Handover, WhoLingersGoesWhenItWouldHaveGone) {
  WorldSlice slice(config_of(), {0});
  SpawnSpec spec;
  spec.player_id = "ann";
  ASSERT_EQ(slice.spawn({77}, spec, 500), SpawnStatus::kOk);
  Control control = slice.entities().control(slice.entities().find({77}));
  ASSERT_NE(control.linger_deadline, 0u);
  control.linger_deadline = 510;
  slice.restore_control({77}, control);
  Events events;
  Sink sink;
  uint32_t tick = 500;
  for (; events.gones == 0 && tick < 600; ++tick) {
    slice.simulate(tick, events);
    slice.encode(tick, 0, sink);
  }
  EXPECT_GE(tick, 510u);
  EXPECT_LE(tick, 513u);
}

}  // namespace
}  // namespace tidegate::world::test
