// SPDX-License-Identifier: Apache-2.0
// The client's picture of the world: what it shows, and that every way in which a server's stream
// can be wrong is counted.
#include "client/world_picture.h"

#include <gtest/gtest.h>

#include "server_bytes.h"

namespace tidegate::client {
namespace {

class Changes final : public PictureEvents {
 public:
  void on_entity_changed(std::string_view name, uint32_t flags) override {
    seen.push_back(std::string(name) + "=" + std::to_string(flags));
  }
  void on_cell_differs(const wire::CellImage&) override { ++differed; }
  void on_cell_healed(base::Instant) override { ++healed; }
  std::vector<std::string> seen;
  uint32_t differed = 0, healed = 0;
};

class Picture : public ::testing::Test {
 protected:
  // One WebSocket message of cell frames.
  void cells(const std::vector<ByteString>& frames) {
    for (const ByteString& f : frames) picture_.apply_cell_frames(f);
    picture_.end_message(100);
  }
  void zone(const std::vector<wire::PlayerStateUpdate>& spawns,
            const std::vector<std::string>& despawns,
            const std::vector<wire::PlayerStateDelta>& updates = {}) {
    picture_.apply_zone_update(zone_update(spawns, despawns, updates));
  }
  void interest(const std::vector<std::string>& entered, const std::vector<std::string>& exited) {
    picture_.apply_interest_update(interest_update(entered, exited));
  }
  const PictureCounters& counted() const { return picture_.counters(); }
  void expect_clean() const {
    EXPECT_EQ(counted().checksum_mismatches, 0u);
    EXPECT_EQ(counted().chain_gaps, 0u);
    EXPECT_EQ(counted().malformed, 0u);
    EXPECT_EQ(counted().violations, 0u);
  }

  Changes changes_;
  WorldPicture picture_{"me", changes_};
};

wire::CellChange change(uint16_t slot, int32_t x, uint32_t flags) {
  wire::CellChange c;
  c.slot = slot;
  c.moved = true;
  c.residual[0] = x;
  c.flags_changed = true;
  c.flags = flags;
  return c;
}

wire::PlayerStateDelta moved(std::string_view name, float x) {
  wire::PlayerStateDelta d;
  d.player_id = name;
  d.changed_fields = wire::kChangedPosition;
  d.position = {x, 0, 0};
  return d;
}

TEST_F(Picture, CellFramesMoveMembersAndTellOfOthersOnly) {
  cells({keyframe(3, 1, {member(0, 8, "me", 10), member(1, 16, "other", 20)})});
  cells({delta(3, 2, {}, {}, {change(0, 5, 77), change(1, -5, 78)})});
  ASSERT_EQ(picture_.cells().size(), 1u);
  const wire::CellImage& image = picture_.cells().begin()->second;
  EXPECT_EQ(image.slots()[0].x, 15);
  EXPECT_EQ(image.slots()[1].x, 15);
  EXPECT_EQ(changes_.seen, std::vector<std::string>{"other=78"});
  EXPECT_EQ(picture_.entity_count(), 2u);
  EXPECT_EQ(counted().frames, 2u);
  EXPECT_EQ(counted().updates, 2u);
  EXPECT_EQ(counted().enters, 2u);
  EXPECT_EQ(counted().checksums, 1u);
  expect_clean();
}

TEST_F(Picture, AWrongChecksumIsCounted) {
  cells({keyframe(0, 1, {member(0, 8, "a")}, 1)});
  EXPECT_EQ(counted().checksums, 1u);
  EXPECT_EQ(counted().checksum_mismatches, 1u);
}

TEST_F(Picture, AFlippedBitIsToldFromAServersMistake) {
  cells({keyframe(0, 1, {member(0, 8, "a")}), keyframe(1, 1, {member(0, 16, "b")})});
  EXPECT_FALSE(WorldPicture("x", changes_).flip_bit(base::Instant{5}, 3)) << "nothing to spoil";
  ASSERT_TRUE(picture_.flip_bit(base::Instant{5}, 3));
  ASSERT_TRUE(picture_.flip_bit(base::Instant{7}, 4)) << "the other cell";
  EXPECT_FALSE(picture_.flip_bit(base::Instant{9}, 5)) << "each cell once";
  base::Instant oldest;
  ASSERT_TRUE(picture_.oldest_flip(&oldest));
  EXPECT_EQ(oldest.ns, 5);
  for (int16_t x : {0, 1}) {
    wire::CellFrameHeader h;
    h.cell_x = x;
    h.frame = 2;
    h.reference = 1;
    h.has_checksum = true;
    wire::CellChecksum sum;
    sum.add(0, 0, 0, x == 0 ? 8 : 16, 0, 0, 0, 0);
    h.checksum = sum.value();
    ByteString frame(256);
    frame.resize(wire::write_cell_delta(frame, h, {}, {}, {}));
    cells({cell_message(frame)});
  }
  EXPECT_EQ(counted().flips, 2u);
  EXPECT_EQ(counted().flips_detected, 2u);
  EXPECT_EQ(changes_.differed, 2u);
  cells({keyframe(0, 2, {member(0, 8, "a")}), drop(1, 2)});
  EXPECT_EQ(counted().flips_healed, 1u);
  EXPECT_EQ(counted().flips_gone, 1u);
  EXPECT_EQ(changes_.healed, 1u);
  EXPECT_FALSE(picture_.oldest_flip(&oldest));
  ASSERT_TRUE(picture_.flip_bit(base::Instant{9}, 5));
  cells({delta(0, 3, {wire::CellLeave{}}, {}, {})});  // the spoiled one goes
  EXPECT_EQ(counted().flips_gone, 2u);
  EXPECT_FALSE(picture_.oldest_flip(&oldest));
  expect_clean();
}

TEST_F(Picture, ADeltaWithoutItsReferenceIsAGap) {
  cells({delta(0, 7, {}, {}, {})});
  EXPECT_EQ(counted().chain_gaps, 1u);
  cells({keyframe(0, 8, {member(0, 8, "a")}), delta(0, 10, {}, {}, {})});
  EXPECT_EQ(counted().chain_gaps, 2u);
  EXPECT_EQ(picture_.entity_count(), 1u);
}

TEST_F(Picture, ADroppedCellIsForgotten) {
  cells({keyframe(0, 1, {member(0, 8, "a")}), keyframe(1, 1, {member(0, 16, "b")})});
  cells({drop(0, 2)});
  EXPECT_EQ(picture_.cells().size(), 1u);
  EXPECT_EQ(picture_.entity_count(), 1u);
  EXPECT_EQ(counted().leaves, 1u);
  expect_clean();
}

TEST_F(Picture, WhatIsNoCellFrameIsMalformed) {
  cells({{0xff, 0xff, 0xff}, {}});
  EXPECT_EQ(counted().malformed, 2u);
}

TEST_F(Picture, AMemberMayChangeCellsInsideOneMessageOnly) {
  cells({keyframe(0, 1, {member(0, 8, "a")}), keyframe(1, 1, {})});
  wire::CellLeave leave;
  leave.to_cell = true;
  leave.cell_x = 1;
  cells({delta(1, 2, {}, {member(0, 8, "a")}, {}), delta(0, 2, {leave}, {}, {})});
  EXPECT_EQ(picture_.entity_count(), 1u);
  expect_clean();
  // It enters the first cell again, and nobody says that it left the second.
  cells({delta(0, 3, {}, {member(0, 8, "a")}, {})});
  EXPECT_EQ(counted().violations, 1u);
}

TEST_F(Picture, AMessageThatATickMayGoOnBehindIsNotJudgedYet) {
  picture_.apply_cell_frames(keyframe(0, 1, {member(0, 8, "a")}));
  picture_.apply_cell_frames(keyframe(1, 1, {}));
  picture_.end_message(100);
  picture_.apply_cell_frames(delta(1, 2, {}, {member(0, 8, "a")}, {}));
  picture_.end_message(50'000);
  picture_.apply_cell_frames(delta(0, 2, {wire::CellLeave{}}, {}, {}));
  picture_.end_message(100);
  expect_clean();
}

TEST_F(Picture, ProtobufStateThatIsExactHasNoViolations) {
  picture_.apply_world_state(world_state({state_of("me"), state_of("a")}));
  picture_.end_message(100);
  zone({state_of("b", 1)}, {"a"}, {moved("me", 4)});
  interest({"b"}, {"a"});
  picture_.end_message(100);
  zone({}, {}, {moved("b", 9)});
  picture_.end_message(100);
  expect_clean();
  EXPECT_EQ(picture_.entity_count(), 2u);
  EXPECT_EQ(picture_.entities().at("b").position.x, 9);
  EXPECT_EQ(picture_.entities().at("me").position.x, 4);
  EXPECT_EQ(changes_.seen.size(), 1u);
}

TEST_F(Picture, AnUpdateLeavesWhatItDoesNotName) {
  picture_.apply_world_state(world_state({state_of("a", 3, 5)}));
  wire::PlayerStateDelta flags;
  flags.player_id = "a";
  flags.changed_fields = wire::kChangedFlags;
  flags.state_flags = 9;
  zone({}, {}, {flags});
  EXPECT_EQ(picture_.entities().at("a").position.x, 3);
  EXPECT_EQ(picture_.entities().at("a").flags, 9u);
}

TEST_F(Picture, SpawnOfAKnownEntityIsAViolation) {
  picture_.apply_world_state(world_state({state_of("a")}));
  zone({state_of("a")}, {});
  EXPECT_EQ(counted().violations, 1u);
}

TEST_F(Picture, ASnapshotThatNamesOneTwiceIsAViolation) {
  picture_.apply_world_state(world_state({state_of("a"), state_of("a")}));
  EXPECT_EQ(counted().violations, 1u);
}

TEST_F(Picture, UpdateOfAnUnknownEntityIsAViolation) {
  zone({}, {}, {moved("ghost", 1)});
  EXPECT_EQ(counted().violations, 1u);
  EXPECT_TRUE(changes_.seen.empty());
}

TEST_F(Picture, DespawnOfAnUnknownEntityIsAViolation) {
  zone({}, {"ghost"});
  EXPECT_EQ(counted().violations, 1u);
}

TEST_F(Picture, InterestThatNamesOthersThanTheZoneIsAViolation) {
  zone({state_of("a")}, {});
  interest({"b"}, {});
  picture_.end_message(100);
  EXPECT_EQ(counted().violations, 1u);
  zone({}, {"a"});
  picture_.end_message(100);
  EXPECT_EQ(counted().violations, 2u);
  interest({}, {"a"});
  picture_.end_message(100);
  EXPECT_EQ(counted().violations, 3u);
}

TEST_F(Picture, InterestMayComeInAnotherMessageOfAnOversizedTick) {
  zone({state_of("a")}, {});
  picture_.end_message(50'000);
  interest({"a"}, {});
  picture_.end_message(100);
  expect_clean();
}

TEST_F(Picture, WhatIsNoZoneUpdateIsMalformed) {
  const uint8_t cut[] = {0x12, 0x05, 0x0a};
  picture_.apply_zone_update(cut);
  picture_.apply_world_state(cut);
  picture_.apply_interest_update(cut);
  const uint8_t number[] = {0x10, 0x05};  // spawns as a number
  picture_.apply_zone_update(number);
  EXPECT_EQ(counted().malformed, 4u);
}

}  // namespace
}  // namespace tidegate::client
