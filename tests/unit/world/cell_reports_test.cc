// SPDX-License-Identifier: Apache-2.0
// The desync alarm in the world: clients' checksums against the owner's cells, and the keyframe
// that heals one client's cell while the world goes on.
#include <gtest/gtest.h>

#include "harness.h"

namespace tidegate::world::test {
namespace {

Options small_world(uint32_t shards) {
  Options options;
  options.config.shard_count = shards;
  options.config.entities = 256;
  options.config.cells = 512;
  options.config.max_speed = 200.0F;
  options.config.cell_size = 16.0F;
  options.config.view_distance = 40.0F;
  options.config.history_ticks = 30;
  return options;
}

struct CellReports : testing::Test {
  explicit CellReports(uint32_t shards = 2) : h(small_world(shards)) {}
  void fill(uint32_t walkers, Encoding encoding = Encoding::kPacked) {
    for (uint32_t i = 0; i < walkers; ++i) h.add(somewhere(), i < 6, encoding);
    for (uint32_t i = 0; i < 2 * kLayerPeriod; ++i) h.step();  // keyframes come at anchors
    h.check();
  }
  Steps3 somewhere() {
    return {static_cast<int32_t>(h.prng().between(-1500, 1500)), 0,
            static_cast<int32_t>(h.prng().between(-1500, 1500))};
  }
  void wander() {
    for (Walker& w : h.walkers) {
      if (h.prng().chance(0.3)) continue;
      Steps3 wish = w.position;
      wish[0] += static_cast<int32_t>(h.prng().between(-120, 120));
      wish[2] += static_cast<int32_t>(h.prng().between(-120, 120));
      h.send(w, h.slice(0).scale().clamp(wish), static_cast<uint8_t>(h.prng().next()), 3);
    }
  }
  WorldSlice& owner(CellKey key) { return h.slice(owner_of(key, h.shards()).value); }
  // Some cell with members of the walker's picture.
  wire::CellImage* image_of(Walker& w, CellKey* key) {
    for (auto& [k, image] : w.client->images) {
      if (image.count() == 0) continue;
      *key = k;
      return &image;
    }
    return nullptr;
  }
  Harness h;
};

TEST_F(CellReports, AnIdleCellIsJudgedAtItsLastFrame) {
  fill(40);
  CellKey key;
  wire::CellImage& image = *image_of(h.walkers[0], &key);
  const uint32_t frame = image.header().frame;
  EXPECT_EQ(owner(key).judge_report(key, frame, image.checksum(), 0), ReportVerdict::kAgrees);
  EXPECT_EQ(owner(key).judge_report(key, frame, image.checksum() ^ 1, 0), ReportVerdict::kDiffers);
  EXPECT_EQ(owner(key).judge_report(key, frame + 1000, image.checksum(), 0),
            ReportVerdict::kUnknown);
  // A frame nobody remembers: the client's own word about its frame.
  EXPECT_EQ(owner(key).judge_report(key, frame + 1000, 5, 6), ReportVerdict::kDiffers);
  EXPECT_EQ(owner(key).judge_report(key, frame + 1000, 5, 5), ReportVerdict::kAgrees);
  EXPECT_EQ(owner(key).judge_report({500, 500}, 1, 1, 0), ReportVerdict::kUnknown);
}

TEST_F(CellReports, EveryKindOfFlippedBitChangesTheChecksum) {
  fill(40);
  CellKey key;
  wire::CellImage& image = *image_of(h.walkers[0], &key);
  const uint64_t right = image.checksum();
  for (uint64_t bit = 0; bit < 136; ++bit) {
    ASSERT_GE(image.flip_bit(bit), 0);
    EXPECT_NE(image.checksum(), right) << bit;
    ASSERT_GE(image.flip_bit(bit), 0);
    ASSERT_EQ(image.checksum(), right) << bit;
  }
}

TEST_F(CellReports, ChecksumsOfThePastSecondsAreKept) {
  fill(40);
  uint32_t judged = 0;
  for (int i = 0; i < 200; ++i) {
    wander();
    h.step();
    for (const Walker& w : h.walkers) {
      if (!w.client) continue;
      for (const auto& [key, image] : w.client->images) {
        if (!image.has_frame() || !image.header().has_checksum) continue;
        const auto verdict =
            owner(key).judge_report(key, image.header().frame, image.header().checksum, 0);
        ASSERT_EQ(verdict, ReportVerdict::kAgrees);
        ++judged;
      }
    }
  }
  EXPECT_GT(judged, 1000u);
}

TEST_F(CellReports, ACellThatChangesTellsItsChecksumTwiceASecond) {
  fill(40);
  // A walker to and fro inside its cell.
  Walker& w = h.walkers[0];
  CellKey key = h.slice(0).scale().cell_of(w.position);
  const int32_t step = h.slice(0).scale().cell_steps;
  uint32_t checksums = 0;
  for (uint32_t i = 0; i < 240; ++i) {
    h.send(w, {key.x * step + 100 + static_cast<int32_t>(i % 2) * 20, 0, key.z * step + 100});
    h.step();
    if (w.client->images.at(key).header().has_checksum) ++checksums;
  }
  EXPECT_GE(checksums, 7u);
  EXPECT_LE(checksums, 9u) << "they are not for every frame";
}

TEST_F(CellReports, AFlippedBitIsHealedByOneKeyframeWhileTheWorldGoesOn) {
  fill(60);
  uint32_t healed = 0;
  for (int i = 0; i < 400 && !HasFailure(); ++i) {
    wander();
    for (Walker& w : h.walkers) {
      if (!w.client || i % 20 != 0) continue;
      CellKey key;
      wire::CellImage* const image = image_of(w, &key);
      if (image == nullptr || image->flip_bit(h.prng().next()) < 0) continue;
      EXPECT_NE(owner(key).judge_report(key, image->header().frame, image->checksum(), 0),
                ReportVerdict::kAgrees);
      if (h.interest(w.shard).heal(w.slot, key)) ++healed;
    }
    h.step();
    if (i % 20 == 19) h.check();
  }
  EXPECT_GT(healed, 100u);
  uint64_t heals = 0;
  uint64_t resyncs = 0;
  for (uint32_t s = 0; s < h.shards(); ++s) {
    heals += h.interest(s).counters().heals;
    resyncs += h.interest(s).counters().resyncs;
  }
  EXPECT_GE(heals, healed / 2);
  EXPECT_EQ(resyncs, 0u) << "one cell, not the whole view";
}

TEST_F(CellReports, HealingIsForPackedWatchersOfTheCellOnly) {
  fill(10, Encoding::kProtobuf);
  const Walker& w = h.walkers[0];
  EXPECT_FALSE(h.interest(w.shard).heal(w.slot, h.slice(0).scale().cell_of(w.position)));
  const uint32_t packed = h.add(somewhere(), true, Encoding::kPacked);
  EXPECT_TRUE(
      h.interest(h.walkers[packed].shard)
          .has(h.walkers[packed].slot, h.slice(0).scale().cell_of(h.walkers[packed].position)));
  EXPECT_FALSE(h.interest(h.walkers[packed].shard).heal(h.walkers[packed].slot, {500, 500}));
}

TEST_F(CellReports, TheOwnersRowsAreOfTheAskedTickWhereTheHistoryReaches) {
  fill(30);
  wander();
  h.step();
  CellKey key;
  wire::CellImage& image = *image_of(h.walkers[0], &key);
  std::vector<wire::CellRow> shown(image.count());
  ASSERT_EQ(image.rows(shown), shown.size());
  const uint32_t tick = h.tick - 1;
  uint32_t in_past = 0;
  std::vector<wire::CellRow> rows(512);
  rows.resize(owner(key).rows_of(key, tick, rows, &in_past));
  EXPECT_EQ(rows, shown);
  EXPECT_EQ(in_past, rows.size());
  // Everybody stays in the cell and turns; then the old tick still gives the old rows.
  for (int i = 0; i < 5; ++i) {
    for (Walker& w : h.walkers) h.send(w, w.position, static_cast<uint8_t>(i * 40 + 9), 3);
    h.step();
  }
  std::vector<wire::CellRow> later(512);
  later.resize(owner(key).rows_of(key, tick, later, &in_past));
  EXPECT_EQ(later, shown);
  later.resize(512);
  later.resize(owner(key).rows_of(key, h.tick - 1, later, &in_past));
  EXPECT_NE(later, shown);
  wire::CellRow one[1];
  EXPECT_EQ(owner(key).rows_of(key, tick, one, &in_past), 1u);
  EXPECT_EQ(owner(key).rows_of({500, 500}, tick, one, &in_past), 0u);
}

}  // namespace
}  // namespace tidegate::world::test
