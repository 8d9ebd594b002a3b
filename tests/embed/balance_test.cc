// SPDX-License-Identifier: Apache-2.0
// Live shards that pass cells to and fro as fast as they can, while NPCs walk over all borders and
// clients watch: pictures stay right, nobody is lost. A program of its own for thread sanitizer.
#include <cmath>

#include "live_server.h"

namespace tidegate::embed_test {
namespace {

constexpr uint32_t kNpcs = 240;

Position place(uint64_t number, uint32_t tick) {
  const float angle = static_cast<float>(number) + static_cast<float>(tick) * 0.01F;
  const float radius = 4.0F + 0.5F * static_cast<float>(number);
  return {radius * std::cos(angle), 0, radius * std::sin(angle)};
}

class Balance : public LiveServer {
 protected:
  // `hold`: how long a cell that moved stays.
  void make_world(const char* hold, const char* shards) {
    make({{"shards.count", shards},
          {"world.npcs", "1000"},
          {"world.view_distance", "100.0"},
          {"balance.interval", "50ms"},
          {"balance.patience", "1"},
          {"balance.imbalance", "0.05"},
          {"balance.min_work", "0s"},
          {"balance.hold", hold}});
    WorldHooks hooks;
    hooks.tick = [this](World& world) {
      // Each shard makes those that stand in its part, once.
      if (world.tick() == 20) {
        for (uint32_t i = 0; i < kNpcs; ++i) {
          const std::string name = "npc" + std::to_string(i);
          SpawnRequest request;
          request.id = name;
          request.position = place(i, 20);
          request.tag = i;
          if (world.owns(request.position) && world.spawn(request) != WorldResult::kOk) ++refused;
        }
      }
      EntityView entity;
      for (uint32_t at = 0; world.next(&at, &entity);) {
        if (entity.kind != Kind::kNpc) continue;
        Move to;
        to.position = place(entity.tag, world.tick());
        to.has_position = true;
        if (world.move(entity.ref, to) != WorldResult::kOk) ++refused;
        ++moves;
      }
    };
    const Status status = server->hooks(std::move(hooks));
    ASSERT_TRUE(status) << status.text();
  }
  std::atomic<uint64_t> refused{0}, moves{0};
};

TEST_F(Balance, CellsGoToAndFroBetweenLiveShardsAndPicturesStayRight) {
  make_world("0s", "4");
  start();
  const auto stop = stop_at_end();
  LiveClient packed(server->port(), "ann", {}, wire::StateEncoding::kPacked);
  LiveClient plain(server->port(), "bob");
  ASSERT_TRUE(packed.enter());
  ASSERT_TRUE(plain.enter());
  uint32_t rounds = 0;
  while (count("tidegate_cell_entities_moved_total") < 500 && rounds < 6000) {
    ++rounds;
    const float x = 3.0F * std::sin(static_cast<float>(rounds) * 0.1F);
    ASSERT_TRUE(packed.move_to(x, 0, 1));
    ASSERT_TRUE(plain.move_to(x, 0, -1));
  }
  EXPECT_GE(count("tidegate_cell_entities_moved_total"), 500u);
  EXPECT_GE(count("tidegate_cells_moved_total"), 20u);
  EXPECT_GT(count("tidegate_handovers_total"), 0u) << "they cross borders, too";
  const client::PictureCounters& c = packed.client().picture().counters();
  EXPECT_GT(c.checksums, 0u);
  EXPECT_EQ(c.checksum_mismatches, 0u);
  EXPECT_EQ(c.chain_gaps, 0u);
  EXPECT_EQ(c.violations, 0u);
  EXPECT_EQ(plain.client().picture().counters().violations, 0u);
  EXPECT_EQ(count("tidegate_desyncs_total"), 0u);
  EXPECT_EQ(count("tidegate_arrivals_refused_total"), 0u);
  EXPECT_EQ(refused, 0u);
  EXPECT_EQ(count("tidegate_entities"), kNpcs + 2);
}

}  // namespace
}  // namespace tidegate::embed_test
