// SPDX-License-Identifier: Apache-2.0
// Which cells a watcher has, when it lets them go, and what owners are asked.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "harness.h"

namespace tidegate::world::test {
namespace {

struct Asked : InterestEvents {
  bool interest_changed(ShardId, CellKey cell, uint8_t packed, uint8_t protobuf,
                        uint8_t requests) override {
    if (!take) return false;
    calls.push_back({cell, packed, protobuf, requests});
    return true;
  }
  struct Call {
    CellKey cell;
    uint8_t packed, protobuf;  // levels
    uint8_t requests;
  };
  using ShardId = base::ShardId;
  bool take = true;
  std::vector<Call> calls;
};

class InterestTest : public ::testing::Test {
 protected:
  // Answers everything that was asked, as an owner of empty cells would.
  void turn() {
    Asked asked;
    table_.post_changes(asked);
    for (const Asked::Call& call : asked.calls) {
      Publication p;
      p.cell = call.cell;
      p.tick = tick_;
      p.answered = call.requests;
      table_.store(p);
    }
    ChunkList chunks{items_, 64}, world{items_, 64};
    if (table_.watching(0)) last_ = table_.gather(0, tick_, chunks, world);
    ++tick_;
  }
  std::set<CellKey> cells() {
    CellKey out[kActiveCellsMax];
    const uint32_t n = table_.active_cells(0, out);
    return {out, out + n};
  }
  Asked asked() {
    Asked asked;
    table_.post_changes(asked);
    return asked;
  }

  WorldConfig config_;
  InterestTable table_{config_, 16, 256};
  Gathered last_ = Gathered::kFrames;
  uint32_t tick_ = 1;
  Chunk items_[64];
};

TEST_F(InterestTest, TakesTheCellsThatTouchTheCircle) {
  table_.add(0, Encoding::kPacked, 60.0F, {1600, 0, 1600});  // the middle of cell 0,0
  EXPECT_TRUE(cells().empty());                              // nothing before the keyframes
  turn();
  // 60 m reach 28 m into the neighbours and, across the corner, 45.3 m < 60 m into the diagonal.
  EXPECT_EQ(cells().size(), 9u);
  table_.remove(0);
  table_.add(0, Encoding::kPacked, 40.0F, {1600, 0, 1600});
  turn();
  EXPECT_EQ(cells().size(), 5u);
}

TEST_F(InterestTest, HysteresisKeepsCellsAtABorder) {
  table_.add(0, Encoding::kPacked, 40.0F, {1600, 0, 1600});
  turn();
  ASSERT_EQ(cells().count({1, 0}), 1u);
  table_.move(0, {1600 - 500, 0, 1600});
  turn();
  const auto joins = table_.counters().joins;
  // Walking to and fro within the margin of 16 m changes nothing.
  for (int i = 0; i < 50; ++i) {
    table_.move(0, {1600 + (i % 2 ? -500 : 150), 0, 1600});
    turn();
  }
  EXPECT_EQ(table_.counters().joins, joins);
  EXPECT_EQ(table_.counters().drops, 0u);
  EXPECT_EQ(cells().count({1, 0}), 1u);
  // 25 m back from the middle the cell is 57 m away: 40 + 16 < 57.
  table_.move(0, {1600 - 1250, 0, 1600});
  turn();
  EXPECT_EQ(cells().count({1, 0}), 0u);
  EXPECT_GT(table_.counters().drops, 0u);
}

TEST_F(InterestTest, NoViewNeedsMoreThanTheListHolds) {
  // Largest number of cells that touch a circle with its margin, over places in a cell.
  const double radius = static_cast<double>(kViewCellsMax) + 0.25;
  uint32_t most = 0;
  for (double x = 0; x < 1; x += 0.01) {
    for (double z = 0; z < 1; z += 0.01) {
      uint32_t n = 0;
      for (int cx = -5; cx <= 5; ++cx) {
        for (int cz = -5; cz <= 5; ++cz) {
          const double dx = std::max({0.0, cx - x, x - cx - 1});
          const double dz = std::max({0.0, cz - z, z - cz - 1});
          if (dx * dx + dz * dz <= radius * radius) ++n;
        }
      }
      most = std::max(most, n);
    }
  }
  EXPECT_LE(most, kActiveCellsMax);
  EXPECT_GE(most, kActiveCellsMax - 12);  // the limit is not wasted
}

TEST_F(InterestTest, NeverRefusesACellOnLongWalksWithTheLargestView) {
  WorldConfig config;
  config.view_distance = kViewCellsMax * config.cell_size;
  InterestTable table(config, 1, 1024);
  Steps3 at{0, 0, 0};
  base::Prng prng(2);
  table.add(0, Encoding::kPacked, 0, at);
  for (int i = 0; i < 20'000; ++i) {
    at[0] += static_cast<int32_t>(prng.between(-60, 70));
    at[2] += static_cast<int32_t>(prng.between(-70, 60));
    table.move(0, at);
    Asked asked;
    table.post_changes(asked);
    for (const Asked::Call& call : asked.calls) {
      Publication p;
      p.cell = call.cell;
      p.tick = static_cast<uint32_t>(i + 1);
      p.answered = call.requests;
      table.store(p);
    }
    ChunkList chunks{items_, 64}, world{items_, 64};
    table.gather(0, static_cast<uint32_t>(i + 1), chunks, world);
  }
  EXPECT_EQ(table.counters().cells_refused, 0u);
  EXPECT_GT(table.counters().drops, 200u);
  table.remove(0);
  Asked end;
  table.post_changes(end);
  EXPECT_EQ(table.watched_cell_count(), 0u);
}

TEST_F(InterestTest, CellsBeyondTheBoundsAreNotAskedFor) {
  table_.add(0, Encoding::kPacked, 0, {2048 * 50, 0, 2048 * 50});
  for (const auto& call : asked().calls) {
    EXPECT_LE(call.cell.x, 32);
    EXPECT_LE(call.cell.z, 32);
  }
}

TEST_F(InterestTest, OwnersHearOfTheFirstAndTheLastWatcher) {
  table_.add(0, Encoding::kPacked, 10.0F, {1600, 0, 1600});
  auto calls = asked().calls;
  ASSERT_EQ(calls.size(), 1u);
  EXPECT_TRUE(calls[0].packed && !calls[0].protobuf);
  EXPECT_EQ(calls[0].requests, kPackedKeyframe);
  table_.add(1, Encoding::kPacked, 10.0F, {1600, 0, 1600});
  table_.add(2, Encoding::kProtobuf, 10.0F, {1600, 0, 1600});
  calls = asked().calls;
  ASSERT_EQ(calls.size(), 1u);  // one message for both
  EXPECT_TRUE(calls[0].packed && calls[0].protobuf);
  EXPECT_EQ(calls[0].requests, kPackedKeyframe | kProtobufWorld | kProtobufSpawns);
  table_.remove(0);
  EXPECT_TRUE(asked().calls.empty());
  table_.remove(1);
  calls = asked().calls;
  ASSERT_EQ(calls.size(), 1u);
  EXPECT_TRUE(!calls[0].packed && calls[0].protobuf);
  table_.remove(2);
  table_.add(3, Encoding::kProtobuf, 10.0F, {1600, 0, 1600});
  table_.remove(3);
  calls = asked().calls;
  ASSERT_EQ(calls.size(), 1u);
  EXPECT_TRUE(!calls[0].packed && !calls[0].protobuf);
  EXPECT_EQ(calls[0].requests, 0);
  EXPECT_EQ(table_.watched_cell_count(), 0u);
}

TEST_F(InterestTest, WhatFindsNoRoomIsPostedAgain) {
  table_.add(0, Encoding::kPacked, 10.0F, {1600, 0, 1600});
  Asked full;
  full.take = false;
  table_.post_changes(full);
  EXPECT_EQ(asked().calls.size(), 1u);
  EXPECT_TRUE(asked().calls.empty());
}

TEST_F(InterestTest, UnansweredCellsAreAskedForAgain) {
  table_.add(0, Encoding::kPacked, 10.0F, {1600, 0, 1600});
  EXPECT_EQ(asked().calls.size(), 1u);
  ChunkList chunks{items_, 64}, world{items_, 64};
  uint32_t anchors = 0;
  for (tick_ = 1; tick_ <= kLayerPeriod; ++tick_) {
    table_.gather(0, tick_, chunks, world);
    EXPECT_TRUE(cells().empty());
    const auto calls = asked().calls;
    // Keyframes are made at anchors: when one has passed, it is time to ask again.
    ASSERT_EQ(calls.size(), is_anchor({0, 0}, tick_) ? 1u : 0u);
    if (calls.empty()) continue;
    EXPECT_EQ(calls[0].requests, kPackedKeyframe);
    ++anchors;
  }
  EXPECT_EQ(anchors, 1u);
}

// Some cells join, some are let go, none is answered yet: the bits follow their cells.
TEST_F(InterestTest, MovingOnBeforeAnythingIsAnswered) {
  base::Prng prng(6);
  Steps3 at{1600, 0, 1600};
  table_.add(0, Encoding::kPacked, 0, at);
  for (int round = 0; round < 200; ++round) {
    for (int i = 0; i < 3; ++i) {
      at[0] += static_cast<int32_t>(prng.between(-3000, 3000));
      at[2] += static_cast<int32_t>(prng.between(-3000, 3000));
      at[0] = std::clamp(at[0], -90'000, 90'000);
      at[2] = std::clamp(at[2], -90'000, 90'000);
      table_.move(0, at);
    }
    turn();
    const std::set<CellKey> have = cells();
    for (int16_t x = -32; x < 32; ++x) {
      for (int16_t z = -32; z < 32; ++z) {
        const double dx = std::max({0, x * 3200 - at[0], at[0] - x * 3200 - 3199});
        const double dz = std::max({0, z * 3200 - at[2], at[2] - z * 3200 - 3199});
        const double distance = std::sqrt(dx * dx + dz * dz);
        if (distance <= 5000) {
          ASSERT_EQ(have.count({x, z}), 1u);
        } else if (distance > 5000 + 800) {
          ASSERT_EQ(have.count({x, z}), 0u);
        }
      }
    }
  }
}

TEST_F(InterestTest, FullTableOfCellsRefusesAndRecovers) {
  InterestTable table(config_, 4, 3);
  table.add(0, Encoding::kPacked, 40.0F, {1600, 0, 1600});  // wants 5
  EXPECT_EQ(table.counters().cells_refused, 2u);
  EXPECT_EQ(table.watched_cell_count(), 3u);
  table.remove(0);
  Asked asked;
  table.post_changes(asked);
  EXPECT_EQ(table.watched_cell_count(), 0u);
  table.add(1, Encoding::kPacked, 10.0F, {1600, 0, 1600});
  EXPECT_EQ(table.watched_cell_count(), 1u);
}

TEST_F(InterestTest, WorldStateComesOnceAndAgainAfterResync) {
  table_.add(0, Encoding::kProtobuf, 40.0F, {1600, 0, 1600});
  turn();
  EXPECT_EQ(last_, Gathered::kWorld);
  EXPECT_EQ(cells().size(), 5u);
  turn();
  EXPECT_EQ(last_, Gathered::kFrames);
  table_.resync(0);
  EXPECT_TRUE(cells().empty());
  turn();
  EXPECT_EQ(last_, Gathered::kWorld);
  EXPECT_EQ(cells().size(), 5u);
}

// A watcher that lost a tick's chunks is whole again after resync(), in both encodings.
TEST(Resync, HealsAClientThatMissedChunks) {
  Options options;
  options.config.shard_count = 2;
  options.config.entities = 64;
  options.config.max_speed = 100.0F;
  options.strict = false;
  Harness h(options);
  for (uint32_t i = 0; i < 24; ++i) {
    h.add({static_cast<int32_t>(i) * 400 - 4000, 0, 100}, i < 4,
          i % 2 ? Encoding::kProtobuf : Encoding::kPacked, 60.0F);
  }
  for (uint32_t i = 0; i < 240; ++i) {
    for (Walker& w : h.walkers) {
      if (w.id.value % 3 == h.tick % 3) {
        h.send(w, {w.position[0] + (i / 60 % 2 ? -250 : 250), 0, w.position[2]});
      }
    }
    // Sometimes many ticks in a row are lost, and the walk goes on meanwhile.
    const bool lost = i % 40 >= 15 && i % 40 < 30;
    for (uint32_t v = 0; v < 4; ++v) h.walkers[v].chunks_max = lost ? 1 + v : 2048;
    h.step();
    // What was lost in the last of these ticks comes again with the next anchor of its cell.
    if (i % 40 < 15 || i % 40 >= 30 + kLayerPeriod) h.check();
  }
  uint64_t resyncs = 0;
  for (uint32_t s = 0; s < 2; ++s) resyncs += h.interest(s).counters().resyncs;
  EXPECT_GT(resyncs, 4u);
}

// What another process' client has: each cell begins again with a keyframe, those that are too far
// away are dropped, those kept by the margin stay.
TEST_F(InterestTest, CellsOfAnotherProcessBeginAgainOrAreDropped) {
  table_.add(0, Encoding::kPacked, 40.0F, {1600, 0, 1600});
  turn();
  table_.move(0, {1600 - 500, 0, 1600});  // 1,0 stays by its margin
  turn();
  CellKey held[kActiveCellsMax];
  const uint32_t count = table_.held_cells(0, held);
  ASSERT_EQ(count, cells().size());
  std::vector<int16_t> words;
  for (uint32_t i = 0; i < count; ++i) words.insert(words.end(), {held[i].x, held[i].z});
  words.insert(words.end(), {30, 30});  // far away
  const std::set<CellKey> before = cells();

  InterestTable other(config_, 16, 256);
  other.add(0, Encoding::kPacked, 40.0F, {1600 - 500, 0, 1600});
  other.restore_cells(0, words, {1600 - 500, 0, 1600});
  CellKey again[kActiveCellsMax];
  EXPECT_EQ(other.active_cells(0, again), 0u) << "nothing is sent before the keyframes";
  EXPECT_EQ(other.held_cells(0, again), count + 1);
  Asked asked;
  other.post_changes(asked);
  std::set<CellKey> keyframes;
  bool dropped = false;
  for (const Asked::Call& call : asked.calls) {
    if ((call.requests & kPackedKeyframe) != 0) keyframes.insert(call.cell);
    dropped |= call.cell == CellKey{30, 30} && (call.requests & kPackedDrop) != 0;
    Publication p;
    p.cell = call.cell;
    p.tick = tick_;
    p.answered = call.requests;
    other.store(p);
  }
  for (const CellKey& cell : before) EXPECT_EQ(keyframes.count(cell), 1u);
  EXPECT_TRUE(dropped);
  ChunkList chunks{items_, 64}, world{items_, 64};
  other.gather(0, tick_, chunks, world);
  EXPECT_EQ((std::set<CellKey>{again, again + other.active_cells(0, again)}), before);
}

// A crowd cuts the circle at a cell that stands at the edge of the view, or in the margin behind
// it. Cells at the edge of a circle that is cut do not join: the client is told of it, although it
// is cut behind the view distance, and what is nearer by a margin than it was told is all there.
TEST(CutCircle, IsToldAlsoAtTheEdgeOfTheView) {
  constexpr float kView = 100;
  constexpr float kMargin = 64.0F / 8;  // before a cell joins a circle that is cut
  constexpr float kSlack = 64.0F / 64;  // a step so small that cells are not decided anew
  WorldConfig config;
  config.view_distance = kView;
  config.crowd_entities = 60;
  config.crowd_view_distance = 20;
  const auto steps = [&](float metres) { return to_steps(metres, config.position_step); };
  uint32_t hidden = 0;  // times that a cell in view was not there
  for (const float cut : {60.0F, 90.0F, 97.0F, 99.5F, 100.5F, 103.0F, 107.0F, 109.0F, 112.0F}) {
    SCOPED_TRACE(cut);
    InterestTable table(config, 1, 256);
    float told = kView;
    uint32_t tick = 1;
    const auto turn = [&](const std::map<CellKey, uint32_t>& members) {
      Asked asked;
      table.post_changes(asked);
      CellKey cells[kActiveCellsMax];
      const uint32_t active = table.active_cells(0, cells);
      for (uint32_t i = 0; i < active; ++i) asked.calls.push_back({cells[i], 0, 0, 0});
      for (const Asked::Call& call : asked.calls) {
        Publication p;
        p.cell = call.cell;
        p.tick = tick;
        p.answered = call.requests;
        if (const auto it = members.find(call.cell); it != members.end()) p.members = it->second;
        table.store(p);
      }
      Chunk items[128];
      ChunkList chunks{items, 64};
      ChunkList world{items + 64, 64};
      table.update_budget(0, {tick * 16, 0, 0});
      table.gather(0, tick++, chunks, world);
      (void)table.take_view_change(0, &told);
    };
    // It walks away from the cell (2, 0), 128 m to the east; those to the north are out of view.
    const float z = 20;
    for (float x = 128 - std::min(cut, 95.0F); tick == 1 || 128 - x < cut; x -= 2) {
      if (tick == 1) table.add(0, Encoding::kPacked, 0, {steps(x), 0, steps(z)});
      table.move(0, {steps(x), 0, steps(z)});
      turn({});
    }
    const float x = 128 - cut;
    table.move(0, {steps(x), 0, steps(z)});
    ASSERT_EQ(told, kView);
    for (int i = 0; i < 61; ++i) turn({{{2, 0}, 50}, {{0, 0}, 20}});
    ASSERT_EQ(table.counters().views_shrunk, 1u);
    EXPECT_EQ(told < kView, cut - kMargin < kView);
    // North, until the other cell is there. The circle stays cut meanwhile.
    const CellKey ahead{static_cast<int16_t>(x < 64 ? 0 : 1), 2};
    const auto has = [&](CellKey key) {
      CellKey cells[kActiveCellsMax];
      return std::find(cells, cells + table.active_cells(0, cells), key) !=
             cells + table.active_cells(0, cells);
    };
    for (float north = z; 128 - north > cut / 2; north += 0.5F) {
      table.move(0, {steps(x), 0, steps(north)});
      turn({{{2, 0}, 50}, {{0, 0}, 20}});
      const float distance = 128 - north;
      const float seen = told < kView ? told - kMargin - kSlack : kView;
      if (distance < seen - 0.1F) {
        ASSERT_TRUE(has(ahead)) << distance << " of " << told;
      } else {
        hidden += distance < kView && !has(ahead);
      }
    }
    EXPECT_TRUE(has(ahead));
    ASSERT_EQ(table.counters().views_grown, 0u);
  }
  EXPECT_GT(hidden, 0u) << "the edge was reached";
}

}  // namespace
}  // namespace tidegate::world::test
