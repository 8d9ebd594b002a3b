// SPDX-License-Identifier: Apache-2.0
#include "realm/outgoing.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace tidegate::realm {
namespace {

struct Said {
  RecordType type;
  uint32_t id;
  uint64_t gateways;
  world::Steps3 position;
};

struct Sink : BatchSink {
  bool send(uint64_t gateways, base::Bytes batch) override {
    if (full) return false;
    BatchReader reader(batch);
    Head head;
    EXPECT_TRUE(reader.head(&head));
    Record r;
    BatchReader::Next next;
    while ((next = reader.next(&r)) == BatchReader::Next::kOk) {
      said.push_back({r.type, r.id.value, gateways, r.state.position});
    }
    EXPECT_EQ(next, BatchReader::Next::kEnd);
    return true;
  }
  // To whom, by entity, of records of that type since the last call.
  std::map<uint32_t, uint64_t> take(RecordType type) {
    std::map<uint32_t, uint64_t> all;
    for (const Said& s : said) {
      if (s.type == type) all[s.id] |= s.gateways;
    }
    said.clear();
    return all;
  }
  std::vector<Said> said;
  bool full = false;
};

struct World {
  explicit World(uint32_t refresh = 1000)
      : entities(16),
        scale(world::WorldConfig{}),
        areas(16),
        outgoing({.entities = 16, .refresh_runs = refresh}) {}
  world::EntitySlot add(uint32_t id, world::Steps3 at) {
    const world::EntitySlot s =
        entities.add({id}, "p" + std::to_string(id), world::EntityKind::kPlayer);
    entities.image(s).position = at;
    entities.control(s).stamp = 1;
    return s;
  }
  void run(uint64_t peers) {
    ++head.tick;
    outgoing.run(head, peers, areas, entities, scale, sink);
  }
  world::EntityTable entities;
  world::WorldScale scale;
  Areas areas;
  Outgoing outgoing;
  Sink sink;
  Head head{Kind::kStates, 1, 0, 1, 0};
};

constexpr uint64_t kA = 1, kB = 2, kC = 4;
using To = std::map<uint32_t, uint64_t>;

TEST(RealmOutgoing, NewOnesWholeToAllMotionToThoseWhoWatch) {
  World w;
  const world::EntitySlot near = w.add(7, {0, 0, 0});
  w.add(8, {90'000, 0, 0});
  w.areas.note(kA, {0, 0});
  w.run(kA | kB);
  EXPECT_EQ(w.sink.take(RecordType::kWhole), (To{{7, kA | kB}, {8, kA | kB}}));
  w.run(kA | kB);
  EXPECT_TRUE(w.sink.said.empty());  // nothing changed
  w.entities.image(near).position = {10, 0, 0};
  w.run(kA | kB);
  EXPECT_EQ(w.sink.take(RecordType::kState), (To{{7, kA}}));
  // Who begins to watch hears where it is, though it stands.
  w.areas.note(kB, {0, 0});
  w.run(kA | kB);
  EXPECT_EQ(w.sink.take(RecordType::kState), (To{{7, kB}}));
}

TEST(RealmOutgoing, ANewGatewayAndOneThatForgotHearAll) {
  World w;
  w.add(7, {});
  w.run(kA);
  w.sink.take(RecordType::kWhole);
  w.run(kA | kC);
  EXPECT_EQ(w.sink.take(RecordType::kWhole), (To{{7, kC}}));
  w.outgoing.forget(kA);
  w.run(kA | kC);
  EXPECT_EQ(w.sink.take(RecordType::kWhole), (To{{7, kA}}));
}

TEST(RealmOutgoing, EachIsSaidWholeAgainOnceInARefresh) {
  World w(10);
  for (uint32_t id = 1; id <= 12; ++id) w.add(id, {});
  w.run(kA);
  w.sink.take(RecordType::kWhole);
  std::map<uint32_t, int> times;
  for (int run = 0; run < 30; ++run) {
    w.run(kA);
    for (const auto& [id, to] : w.sink.take(RecordType::kWhole)) ++times[id];
  }
  EXPECT_EQ(times.size(), 12u);
  for (const auto& [id, n] : times) EXPECT_EQ(n, 3) << id;
}

TEST(RealmOutgoing, RemoteAndLeavingOnesAreNotOurs) {
  World w;
  const world::EntitySlot s = w.add(7, {});
  w.entities.membership(s).state = world::kRemote;
  w.run(kA);
  EXPECT_TRUE(w.sink.said.empty());
  w.entities.membership(s).state = 0;
  w.run(kA);
  EXPECT_EQ(w.sink.take(RecordType::kWhole), (To{{7, kA}}));
  w.outgoing.note_gone({7}, 1);
  w.entities.membership(s).state = world::kOutOfCell;
  w.run(kA);
  EXPECT_EQ(w.sink.take(RecordType::kGone), (To{{7, kA}}));
}

TEST(RealmOutgoing, ANewStampIsSaidAtOnce) {
  World w;
  const world::EntitySlot s = w.add(7, {});
  w.run(kA);
  w.sink.take(RecordType::kWhole);
  w.entities.control(s).stamp = 2;
  w.run(kA);
  EXPECT_EQ(w.sink.take(RecordType::kWhole), (To{{7, kA}}));
}

TEST(RealmOutgoing, WhatFoundNoRoomIsSaidAgain) {
  World w;
  const world::EntitySlot s = w.add(7, {});
  w.areas.note(kA, {0, 0});
  w.sink.full = true;
  w.run(kA);
  w.sink.full = false;
  w.run(kA);
  EXPECT_EQ(w.sink.take(RecordType::kWhole), (To{{7, kA}}));
  w.sink.full = true;
  w.entities.image(s).position = {10, 0, 0};
  w.run(kA);
  EXPECT_EQ(w.outgoing.counters().refused, 2u);
  w.sink.full = false;
  w.run(kA);
  ASSERT_EQ(w.sink.said.size(), 1u);
  EXPECT_EQ(w.sink.said[0].position, (world::Steps3{10, 0, 0}));
}

TEST(RealmOutgoing, MoreSetsOfGatewaysThanOpenBatches) {
  World w;
  To want;
  std::vector<world::EntitySlot> slots;
  for (uint32_t i = 0; i < 12; ++i) {
    const auto x = static_cast<int32_t>(i) * 12'800;  // a block each
    slots.push_back(w.add(i + 1, {x - 60'000, 0, 0}));
    const Block block = block_of(w.scale.cell_of(w.entities.image(slots.back()).position));
    w.areas.note(uint64_t{i} + 1, block);
    want[i + 1] = i + 1;
  }
  // Past the runs in which these slots are said whole again.
  for (int i = 0; i < 20; ++i) w.run(15);
  w.sink.said.clear();
  for (const world::EntitySlot s : slots) w.entities.image(s).position[0] += 1;
  w.run(15);
  EXPECT_EQ(w.sink.take(RecordType::kState), want);
}

}  // namespace
}  // namespace tidegate::realm
