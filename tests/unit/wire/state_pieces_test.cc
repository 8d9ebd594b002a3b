// SPDX-License-Identifier: Apache-2.0
// A state that is cut means the same as whole: libprotobuf reads the pieces, and what they say
// together is what the whole said.
#include "wire/state_pieces.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tidegate/v1/world.pb.h"

namespace tidegate::wire {
namespace {

namespace pb = ::tidegate::v1;

std::vector<StatePieces::Piece> cut(MessageType type, const std::string& payload, uint32_t bytes,
                                    std::vector<std::string>* kept) {
  std::vector<uint8_t> scratch(payload.size() * 2 + 256);
  StatePieces pieces(type, base::as_bytes(payload), scratch);
  std::vector<StatePieces::Piece> all;
  StatePieces::Piece piece;
  while (pieces.next(bytes, &piece)) {
    kept->emplace_back(base::as_text(piece.payload));
    all.push_back(piece);
  }
  return all;
}

TEST(StatePieces, AWorldStateGoesOnAsSpawns) {
  pb::WorldStateSnapshot world;
  world.set_tick(7);
  world.set_timestamp(1234);
  world.set_zone_id("zone");
  world.mutable_environment()->set_weather("rain");
  for (int i = 0; i < 50; ++i) {
    world.add_players()->set_player_id("player-" + std::to_string(i));
    world.add_npcs()->set_player_id("npc-" + std::to_string(i));
    world.add_objects()->set_player_id("object-" + std::to_string(i));
  }
  for (const uint32_t bytes : {1u, 40u, 500u, 100'000u}) {
    std::vector<std::string> kept;
    const auto pieces = cut(MessageType::kWorldState, world.SerializeAsString(), bytes, &kept);
    ASSERT_FALSE(pieces.empty());
    EXPECT_EQ(pieces.size() > 1, bytes < 1000);
    std::vector<std::string> seen[3];
    for (size_t i = 0; i < pieces.size(); ++i) {
      if (i == 0) {
        EXPECT_EQ(pieces[0].type, MessageType::kWorldState);
        pb::WorldStateSnapshot first;
        ASSERT_TRUE(first.ParseFromString(kept[0]));
        EXPECT_EQ(first.tick(), 7u);
        EXPECT_EQ(first.timestamp(), 1234);
        EXPECT_EQ(first.zone_id(), "zone");
        EXPECT_EQ(first.environment().weather(), "rain");
        for (const auto& e : first.players()) seen[0].push_back(e.player_id());
        for (const auto& e : first.npcs()) seen[1].push_back(e.player_id());
        for (const auto& e : first.objects()) seen[2].push_back(e.player_id());
        continue;
      }
      EXPECT_EQ(pieces[i].type, MessageType::kZoneUpdate);
      pb::ZoneUpdate more;
      ASSERT_TRUE(more.ParseFromString(kept[i]));
      EXPECT_EQ(more.zone_id(), "zone");
      EXPECT_GT(more.spawns_size(), 0);
      EXPECT_FALSE(more.has_environment());
      for (const auto& e : more.spawns()) {
        ASSERT_LT(e.kind(), 3u);
        seen[e.kind()].push_back(e.state().player_id());
      }
    }
    for (int i = 0; i < 50; ++i) {
      EXPECT_EQ(seen[0].at(i), "player-" + std::to_string(i));
      EXPECT_EQ(seen[1].at(i), "npc-" + std::to_string(i));
      EXPECT_EQ(seen[2].at(i), "object-" + std::to_string(i));
    }
    EXPECT_EQ(seen[0].size() + seen[1].size() + seen[2].size(), 150u);
  }
}

TEST(StatePieces, AZoneUpdateGoesOnAsZoneUpdates) {
  pb::ZoneUpdate zone;
  zone.set_zone_id("zone");
  zone.mutable_environment()->set_time_of_day(3);
  for (int i = 0; i < 20; ++i) {
    zone.add_spawns()->mutable_state()->set_player_id("spawn-" + std::to_string(i));
    zone.add_despawns("gone-" + std::to_string(i));
    zone.add_updates()->mutable_delta()->set_player_id("update-" + std::to_string(i));
  }
  std::vector<std::string> kept;
  cut(MessageType::kZoneUpdate, zone.SerializeAsString(), 60, &kept);
  ASSERT_GT(kept.size(), 5u);
  pb::ZoneUpdate whole;
  for (size_t i = 0; i < kept.size(); ++i) {
    pb::ZoneUpdate piece;
    ASSERT_TRUE(piece.ParseFromString(kept[i]));
    EXPECT_EQ(piece.zone_id(), "zone");
    EXPECT_EQ(piece.has_environment(), i == 0);
    whole.MergeFrom(piece);
  }
  EXPECT_EQ(whole.DebugString(), zone.DebugString());
}

TEST(StatePieces, APieceThatWasTooLongIsMadeAgain) {
  pb::ZoneUpdate zone;
  for (int i = 0; i < 8; ++i) zone.add_despawns("gone-" + std::to_string(i));
  const std::string payload = zone.SerializeAsString();
  std::vector<uint8_t> scratch(1024);
  StatePieces pieces(MessageType::kZoneUpdate, base::as_bytes(payload), scratch);
  StatePieces::Piece piece;
  ASSERT_TRUE(pieces.next(1000, &piece));
  EXPECT_EQ(piece.entries, 8u);
  pieces.again();
  ASSERT_TRUE(pieces.next(1, &piece));
  EXPECT_EQ(piece.entries, 1u);
  pb::ZoneUpdate first;
  ASSERT_TRUE(first.ParseFromArray(piece.payload.data(), static_cast<int>(piece.payload.size())));
  EXPECT_EQ(first.despawns(0), "gone-0");
  ASSERT_TRUE(pieces.next(1000, &piece));
  EXPECT_EQ(piece.entries, 7u);
  EXPECT_FALSE(pieces.next(1000, &piece));
}

}  // namespace
}  // namespace tidegate::wire
