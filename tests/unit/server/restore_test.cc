// SPDX-License-Identifier: Apache-2.0
// What a snapshot of another world means for this one.
#include "server/restore.h"

#include <gtest/gtest.h>

namespace tidegate::server {
namespace {

struct Builder {
  std::vector<uint8_t> bytes;
  void add(uint8_t source, uint8_t kind, const std::string& name, world::Steps3 at,
           uint32_t flags = 0, uint64_t tag = 0) {
    mailbox::SnapshotRecord r{};
    r.source = source;
    r.kind = kind;
    r.flags = flags;
    r.yaw = 9;
    for (size_t i = 0; i < 3; ++i) r.position[i] = at[i];
    const size_t old = bytes.size();
    bytes.resize(old + mailbox::kSnapshotRecordBytesMax);
    bytes.resize(old + mailbox::write_record(bytes.data() + old, r, name, tag));
  }
  control::Snapshot snapshot(const world::WorldConfig& config) const {
    control::Snapshot s;
    EXPECT_EQ(control::read_snapshot_file(
                  control::make_snapshot_file(snapshot_world(config), 1, 2, {bytes}), &s),
              control::SnapshotStatus::kOk);
    return s;
  }
};

TEST(Restore, TheLongestAbsentFirstAndTheEntityCounts) {
  Builder b;
  b.add(mailbox::kSnapshotEntity, 0, "here", {5, 6, 7}, 3);
  b.add(mailbox::kSnapshotPlace, 0, "yesterday", {1, 0, 0}, 86400);
  b.add(mailbox::kSnapshotPlace, 0, "just now", {2, 0, 0}, 2);
  b.add(mailbox::kSnapshotPlace, 0, "here", {9, 9, 9}, 50);
  b.add(mailbox::kSnapshotEntity, 1, "guard", {4, 0, 4}, 8, 1ull << 40);
  b.add(mailbox::kSnapshotEntity, 9, "of tomorrow", {4, 0, 4});
  const world::WorldConfig config;
  const control::Snapshot snapshot = b.snapshot(config);
  const RestorePlan plan = plan_restore(snapshot, config);
  ASSERT_EQ(plan.players.size(), 3u);
  EXPECT_EQ(plan.players[0].name, "yesterday");
  EXPECT_EQ(plan.players[1].name, "just now");
  EXPECT_EQ(plan.players[2].name, "here");
  EXPECT_EQ(plan.players[2].position, (world::Steps3{5, 6, 7}));
  EXPECT_EQ(plan.players[2].yaw, 9);
  ASSERT_EQ(plan.others.size(), 1u);
  EXPECT_EQ(plan.others[0].kind, world::EntityKind::kNpc);
  EXPECT_EQ(plan.others[0].flags, 8u);
  EXPECT_EQ(plan.others[0].tag, 1ull << 40);
  EXPECT_EQ(plan.skipped, 1u);
}

TEST(Restore, PositionsAreConvertedInMetresAndKeptInside) {
  world::WorldConfig then;
  Builder b;
  b.add(mailbox::kSnapshotEntity, 0, "near", {1000, 50, -1000});
  b.add(mailbox::kSnapshotPlace, 0, "far", {100'000, 0, 0});
  const control::Snapshot snapshot = b.snapshot(then);
  world::WorldConfig today = then;
  today.position_step = 0.04F;
  for (int i = 0; i < 3; ++i) {
    today.bounds_min[i] = -512;
    today.bounds_max[i] = 512;
  }
  const RestorePlan plan = plan_restore(snapshot, today);
  ASSERT_EQ(plan.players.size(), 2u);
  EXPECT_EQ(plan.players[1].position, (world::Steps3{500, 25, -500}));
  EXPECT_EQ(plan.players[0].position, (world::Steps3{12'800, 0, 0})) << "2000 m, the edge is 512";
  EXPECT_EQ(plan.moved_inside, 1u);
  EXPECT_NE(plan.notes.find("converted in metres"), std::string::npos);
  EXPECT_NE(plan.notes.find("outside"), std::string::npos);
  EXPECT_TRUE(plan_restore(snapshot, then).notes.empty());
}

}  // namespace
}  // namespace tidegate::server
