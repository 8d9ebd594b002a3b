// SPDX-License-Identifier: Apache-2.0
// What a game sees: entities from either encoding, own movement, sending with its four modes, time,
// figures, bad networks; and that a steady client takes no memory.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>

#include "model_server.h"
#include "sdk/world.h"
#include "wire/state_messages.h"

namespace {
// Counts what is taken while it is asked to.
thread_local bool counting = false;
thread_local uint64_t taken = 0;
}  // namespace

#ifdef __SANITIZE_ADDRESS__
// Of sanitizer/allocator_interface.h, which not every compiler brings along.
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*malloc_hook)(const volatile void*,
                                                                             size_t),
                                                         void (*free_hook)(const volatile void*));
static const int hooked = __sanitizer_install_malloc_and_free_hooks(
    [](const volatile void*, size_t) { taken += counting; }, [](const volatile void*) {});
#else
// Not inlined: compilers take malloc and free in these for a mismatch otherwise.
[[gnu::noinline]] void* operator new(size_t size) {
  if (counting) ++taken;
  if (void* p = std::malloc(size != 0 ? size : 1)) return p;
  std::abort();
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept { std::free(p); }
#endif

namespace tidegate::sdk {
namespace {

using client::operator+;

tidegate_client_entity find(Game& game, const char* id) {
  tidegate_client_entity e{};
  e.struct_size = sizeof e;
  tidegate_client_find(game.client, {id, std::strlen(id)}, &e);
  return e;
}
tidegate_client_stats stats_of(Game& game) {
  tidegate_client_stats s{};
  s.struct_size = sizeof s;
  tidegate_client_get_stats(game.client, &s);
  return s;
}
void zone(Game& game, const std::vector<wire::PlayerStateUpdate>& spawns,
          const std::vector<std::string>& despawns,
          const std::vector<wire::PlayerStateDelta>& updates) {
  game.server.send(client::frame_of(MessageType::kZoneUpdate,
                                    base::Bytes(client::zone_update(spawns, despawns, updates))));
}
wire::PlayerStateDelta moved(std::string_view name, float x, uint32_t tick) {
  wire::PlayerStateDelta d;
  d.player_id = name;
  d.changed_fields = wire::kChangedPosition;
  d.position = {x, 0, 0};
  d.delta_tick = tick;
  return d;
}

void keyed_state(Game& game, std::string_view key, uint64_t version) {
  uint8_t bytes[256];
  wire::StateEntry entry;
  entry.key = key;
  entry.version = version;
  wire::PbWriter update(bytes);
  const size_t mark = update.begin(wire::kStateUpdateEntries);
  wire::encode(update, entry);
  update.end(mark);
  game.server.send(client::frame_of(MessageType::kStateUpdate, update.written()));
}

TEST(SdkClient, EntitiesInProtobuf) {
  Game game;
  game.create();
  ASSERT_TRUE(game.enter());
  game.counts.clear();
  zone(game, {client::state_of("other", 3, 9)}, {}, {});
  game.step();
  EXPECT_EQ(game.counts[TIDEGATE_EVENT_ENTITY_ADDED], 1);
  EXPECT_FLOAT_EQ(find(game, "other").position.x, 3);
  EXPECT_EQ(find(game, "other").flags, 9u);
  EXPECT_EQ(find(game, "other").is_self, 0);
  EXPECT_EQ(find(game, "me").is_self, 1);
  zone(game, {}, {}, {moved("other", 5, 100), moved("nobody", 5, 100)});
  game.step();
  EXPECT_EQ(game.counts[TIDEGATE_EVENT_ENTITY_CHANGED], 1);
  EXPECT_FLOAT_EQ(find(game, "other").position.x, 5);
  zone(game, {client::state_of("brief")}, {"other", "brief"}, {});
  game.step();
  EXPECT_EQ(game.counts[TIDEGATE_EVENT_ENTITY_REMOVED], 1);
  EXPECT_EQ(game.counts[TIDEGATE_EVENT_ENTITY_ADDED], 1) << "who came and left was told";
  EXPECT_EQ(find(game, "other").id.size, 0u);
  EXPECT_EQ(stats_of(game).entities, 1u);
}

TEST(SdkClient, AWorldStateReplacesWhatThereIs) {
  Game game;
  game.create();
  ASSERT_TRUE(game.enter());
  zone(game, {client::state_of("stays", 1), client::state_of("goes", 2)}, {}, {});
  game.step();
  game.counts.clear();
  game.server.world(
      {client::state_of("me"), client::state_of("stays", 4), client::state_of("comes", 5)});
  game.step();
  EXPECT_EQ(game.counts[TIDEGATE_EVENT_ENTITY_REMOVED], 1);
  EXPECT_EQ(game.counts[TIDEGATE_EVENT_ENTITY_ADDED], 1);
  EXPECT_FLOAT_EQ(find(game, "stays").position.x, 4);
  EXPECT_EQ(find(game, "goes").id.size, 0u);
}

TEST(SdkClient, PackedCellsAHandoverAndACellThatIsWrong) {
  Game game;
  game.server.enters = false;
  game.create([](auto& c) { c.protobuf = 0; });
  tidegate_client_connect(game.client);
  ASSERT_TRUE(game.until([&] { return game.in(TIDEGATE_CLIENT_AUTHENTICATED); }));
  const auto cell = [&](const ByteString& payload) {
    return client::frame_of(MessageType::kCellFrame, base::Bytes(payload));
  };
  game.server.send(cell(client::keyframe(5, 1, {client::member(0, 9, "far")})));
  game.step();
  EXPECT_TRUE(game.in(TIDEGATE_CLIENT_AUTHENTICATED)) << "the own cell has not come";
  game.server.send(cell(client::keyframe(
                       0, 1, {client::member(0, 7, "me"), client::member(1, 8, "walker", 3000)})) +
                   cell(client::keyframe(1, 1, {})));
  game.step();
  EXPECT_TRUE(game.in(TIDEGATE_CLIENT_IN_WORLD));
  EXPECT_FLOAT_EQ(find(game, "walker").position.x, 60);
  game.counts.clear();
  // It walks over the border: out of one cell and into the next, within one message.
  wire::CellLeave leave;
  leave.slot = 1;
  leave.to_cell = true;
  leave.cell_x = 1;
  game.server.send(cell(client::delta(0, 2, {leave}, {}, {})) +
                   cell(client::delta(1, 2, {}, {client::member(4, 8, "walker", 10)}, {})));
  game.step();
  EXPECT_EQ(game.counts[TIDEGATE_EVENT_ENTITY_REMOVED], 0);
  EXPECT_EQ(game.counts[TIDEGATE_EVENT_ENTITY_ADDED], 0);
  EXPECT_FLOAT_EQ(find(game, "walker").position.x, 64.2F);
  // A wrong checksum is reported at once; a delta without its reference only counted.
  game.server.send(cell(client::keyframe(1, 3, {client::member(4, 8, "walker", 20)}, 1)));
  game.step();
  EXPECT_EQ(game.server.types[205], 1u);
  game.server.send(cell(client::delta(1, 9, {}, {}, {})));
  game.step();
  EXPECT_EQ(stats_of(game).missing_references, 1u);
  EXPECT_EQ(game.counts[TIDEGATE_EVENT_DESYNC], 2);
  game.server.send(cell(client::drop(1, 4)));
  game.step();
  EXPECT_EQ(game.counts[TIDEGATE_EVENT_ENTITY_REMOVED], 1);
  EXPECT_EQ(stats_of(game).cells, 2u);
}

TEST(SdkClient, OneThatGoesToAnotherCellInViewIsWaitedFor) {
  Game game;
  game.server.enters = false;
  game.create([](auto& c) { c.protobuf = 0; });
  tidegate_client_connect(game.client);
  ASSERT_TRUE(game.until([&] { return game.in(TIDEGATE_CLIENT_AUTHENTICATED); }));
  const auto send = [&](const ByteString& payload) {
    game.server.send(client::frame_of(MessageType::kCellFrame, base::Bytes(payload)));
    game.step();
  };
  send(client::keyframe(0, 1, {client::member(0, 7, "walker")}));
  send(client::keyframe(1, 1, {}));
  wire::CellLeave leave;
  leave.to_cell = true;
  leave.cell_x = 1;
  send(client::delta(0, 2, {leave}, {}, {}));
  EXPECT_EQ(game.counts[TIDEGATE_EVENT_ENTITY_REMOVED], 0);
  send(client::delta(1, 2, {}, {client::member(0, 7, "walker")}, {}));
  EXPECT_EQ(game.counts[TIDEGATE_EVENT_ENTITY_REMOVED], 0);
  EXPECT_EQ(stats_of(game).entities, 1u);
}

TEST(SdkClient, MovesAreShownAtOnceAndCorrected) {
  Game game;
  game.create();
  tidegate_vector at{};
  EXPECT_EQ(tidegate_client_move(game.client, {1, 0, 0}, 0, 0, 1), TIDEGATE_CLIENT_DROPPED);
  EXPECT_EQ(tidegate_client_self(game.client, &at), 0);
  ASSERT_TRUE(game.enter());
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(tidegate_client_move(game.client, {10, 0, 0}, 0.5F, 3, 0.1F), TIDEGATE_CLIENT_OK);
  }
  ASSERT_EQ(tidegate_client_self(game.client, &at), 1);
  EXPECT_NEAR(at.x, 10, 1e-4);
  game.step();
  ASSERT_EQ(game.server.moves.size(), 10u);
  EXPECT_NEAR(game.server.moves[9].position.x, 10, 1e-4);
  EXPECT_EQ(game.server.moves[9].client_tick, 10u);
  wire::MoveAck ack;
  ack.client_tick = 5;
  ack.server_tick = 7;
  ack.position = {1, 0, 0};
  ack.corrected = true;
  ack.reason = 4010;
  game.server.send(MessageType::kMoveAck, ack);
  game.step();
  EXPECT_EQ(stats_of(game).pending_inputs, 5u);
  EXPECT_EQ(stats_of(game).corrections, 1u);
  EXPECT_EQ(stats_of(game).refused_moves, 1u);
  tidegate_client_self(game.client, &at);
  EXPECT_GT(at.x, 8) << "it jumped";
  game.until([] { return false; }, 2000);
  tidegate_client_self(game.client, &at);
  EXPECT_NEAR(at.x, 6, 1e-2);
  EXPECT_EQ(tidegate_client_move(game.client, {NAN, 0, 0}, 0, 0, 1), TIDEGATE_CLIENT_INVALID);
}

// What comes late on the way down is what the server should expect on the way up; a connection
// that breaks does not make the client forget.
TEST(SdkClient, TheServerIsToldHowLongSamplesShouldWait) {
  for (const bool says : {false, true}) {
    Game game;
    game.create();
    game.server.steer_speed = "1067";
    if (says) game.server.steer_delay = "21";
    ASSERT_TRUE(game.enter());
    uint32_t told = 0;
    for (uint32_t tick = 1; tick <= 200; ++tick) {
      // Each second a stall of ten ticks, whose states then come at once.
      if (tick % 60 < 50) {
        for (; told < tick; ++told) zone(game, {}, {}, {moved("me", 0, told + 1)});
      }
      game.step(tick % 3 == 0 ? 16 : 17);
    }
    const auto steer = [&] {
      for (int i = 0; i < 5; ++i) {
        tidegate_client_steer(game.client, {1, 0, 0}, 0, 0, 0.017F);
        game.step(17);
      }
    };
    steer();
    const auto all_told = [&] {
      return *std::max_element(game.server.waits.begin(), game.server.waits.end());
    };
    ASSERT_FALSE(game.server.waits.empty());
    if (!says) {
      EXPECT_EQ(all_told(), 0u) << "a server that does not know of it";
      continue;
    }
    EXPECT_GE(all_told(), 9u);
    EXPECT_LE(all_told(), 19u);
    EXPECT_EQ(game.server.waits.back(), 0u) << "once is enough";
    game.server.waits.clear();
    game.net.wire()->cut = true;
    game.step();
    ASSERT_TRUE(game.until([&] { return game.in(TIDEGATE_CLIENT_IN_WORLD); }));
    steer();
    ASSERT_FALSE(game.server.waits.empty());
    EXPECT_GE(all_told(), 9u);
  }
}

TEST(SdkClient, AStepFunctionOfTheGame) {
  Game game;
  game.create([](auto& c) {
    c.step = [](void*, const double at[3], const float v[3], double dt, double out[3]) {
      out[0] = std::min(2.0, at[0] + static_cast<double>(v[0]) * dt);  // a wall
      out[1] = at[1];
      out[2] = at[2];
    };
  });
  ASSERT_TRUE(game.enter());
  for (int i = 0; i < 10; ++i) tidegate_client_move(game.client, {10, 0, 0}, 0, 0, 0.1F);
  tidegate_vector at{};
  tidegate_client_self(game.client, &at);
  EXPECT_FLOAT_EQ(at.x, 2);
}

TEST(SdkClient, OthersAreShownBetweenStates) {
  Game game;
  game.create();
  ASSERT_TRUE(game.enter());
  zone(game, {client::state_of("other")}, {}, {});
  double least = 1e9, most = -1e9, before = NAN;
  for (uint32_t tick = 10; tick < 400; ++tick) {
    game.net.now = game.net.now + base::nanoseconds(16'666'667);
    zone(game, {}, {}, {moved("other", static_cast<float>(tick), tick)});
    tidegate_client_poll(game.client, 0);
    uint32_t cursor = 0;
    tidegate_client_entity e{};
    e.struct_size = sizeof e;
    while (tidegate_client_next(game.client, &cursor, &e) != 0) {
      if (e.is_self != 0) continue;
      const auto x = static_cast<double>(e.shown.x);
      if (tick > 200) {
        least = std::min(least, x - before);
        most = std::max(most, x - before);
        EXPECT_LT(x, tick);
      }
      before = x;
    }
  }
  EXPECT_GT(least, 0.9);
  EXPECT_LT(most, 1.1);
  EXPECT_GT(stats_of(game).delay_ms, 15);
  EXPECT_EQ(stats_of(game).starved, 0u);
}

TEST(SdkClient, FourWaysToSend) {
  Game game;
  game.create([](auto& c) { c.queue_messages = 3; });
  EXPECT_EQ(game.send("now", TIDEGATE_SEND_NOW), TIDEGATE_CLIENT_DROPPED);
  EXPECT_EQ(game.send("queued", TIDEGATE_SEND_QUEUED, 1), TIDEGATE_CLIENT_QUEUED);
  EXPECT_EQ(game.send("old", TIDEGATE_SEND_LATEST, 2, 0, 7), TIDEGATE_CLIENT_QUEUED);
  EXPECT_EQ(game.send("new", TIDEGATE_SEND_LATEST, 2, 0, 7), TIDEGATE_CLIENT_QUEUED);
  EXPECT_EQ(game.send("sure", TIDEGATE_SEND_ACKNOWLEDGED, 3), TIDEGATE_CLIENT_QUEUED);
  EXPECT_EQ(game.send("more", TIDEGATE_SEND_QUEUED), TIDEGATE_CLIENT_WOULD_BLOCK);
  EXPECT_EQ(tidegate_client_queued(game.client), 13u);
  ASSERT_TRUE(game.enter());
  game.step();
  EXPECT_EQ(game.server.plain, (std::vector<std::string>{"new", "queued"}));
  EXPECT_EQ(game.server.delivered, (std::vector<std::string>{"sure"}));
  EXPECT_EQ(game.counts[TIDEGATE_EVENT_DRAINED], 1);
  game.step();
  EXPECT_EQ(stats_of(game).unacknowledged, 0u);
  EXPECT_EQ(game.send("now", TIDEGATE_SEND_NOW), TIDEGATE_CLIENT_OK);
  EXPECT_EQ(game.send("now", static_cast<tidegate_client_mode>(9)), TIDEGATE_CLIENT_INVALID);
  EXPECT_EQ(game.send("now", TIDEGATE_SEND_QUEUED, 11), TIDEGATE_CLIENT_INVALID);
  EXPECT_EQ(game.send(std::string(100'000, 'x'), TIDEGATE_SEND_NOW), TIDEGATE_CLIENT_INVALID);
}

TEST(SdkClient, AMessageWhoseTimeIsOverIsTold) {
  Game game;
  game.create();
  std::string told;
  game.hook = [&](const auto& e) {
    if (e.kind == TIDEGATE_EVENT_EXPIRED) {
      told.assign(static_cast<const char*>(e.payload.data), e.payload.size);
    }
  };
  game.send("stale", TIDEGATE_SEND_QUEUED, 5, 500);
  game.until([] { return false; }, 400);
  EXPECT_EQ(told, "");
  game.until([] { return false; }, 200);
  EXPECT_EQ(told, "stale");
  // Room that comes back while nobody is logged in is told, too.
  while (game.send("x", TIDEGATE_SEND_QUEUED, 5, 100) == TIDEGATE_CLIENT_QUEUED) continue;
  game.until([] { return false; }, 200);
  EXPECT_EQ(game.counts[TIDEGATE_EVENT_DRAINED], 1);
  EXPECT_EQ(tidegate_client_queued(game.client), 0u);
}

TEST(SdkClient, ASocketThatTakesNothingBlocksAndDrains) {
  Game game;
  game.create([](auto& c) { c.send_buffer_bytes = 8192; });
  ASSERT_TRUE(game.enter());
  game.net.wire()->up_room = 0;
  int ok = 0;
  while (game.send(std::string(500, 'x'), TIDEGATE_SEND_NOW) == TIDEGATE_CLIENT_OK) ++ok;
  EXPECT_GT(ok, 5);
  EXPECT_LE(tidegate_client_buffered(game.client), 8192u);
  EXPECT_EQ(game.send("x", TIDEGATE_SEND_QUEUED), TIDEGATE_CLIENT_OK) << "a little still fits";
  EXPECT_EQ(game.send(std::string(500, 'x'), TIDEGATE_SEND_QUEUED), TIDEGATE_CLIENT_QUEUED);
  game.step();
  EXPECT_EQ(game.counts[TIDEGATE_EVENT_DRAINED], 0);
  game.net.wire()->up_room = SIZE_MAX;
  game.step();
  EXPECT_EQ(game.counts[TIDEGATE_EVENT_DRAINED], 1);
  EXPECT_EQ(tidegate_client_buffered(game.client), 0u);
}

TEST(SdkClient, TheServersTime) {
  Game game;
  game.create();
  double ms = 0, tick = 0;
  EXPECT_EQ(tidegate_client_server_time(game.client, &ms, &tick), 0);
  ASSERT_TRUE(game.enter());
  game.until([] { return false; }, 2000);
  ASSERT_EQ(tidegate_client_server_time(game.client, &ms, &tick), 1);
  EXPECT_NEAR(ms, 1.8e12 + static_cast<double>(game.net.now.ns) / 1e6, 11);
  EXPECT_NEAR(tick, static_cast<double>(game.net.now.ns) / 16'666'667.0, 2);
}

TEST(SdkClient, ABudgetLeavesMessagesForTheNextPoll) {
  Game game;
  game.create();
  ASSERT_TRUE(game.enter());
  game.messages.clear();
  for (int i = 0; i < 50; ++i) {
    game.server.send(client::frame_of(static_cast<MessageType>(1000),
                                      base::Bytes(base::as_bytes(std::to_string(i)))));
  }
  // Each message takes 100 us of the virtual clock.
  game.hook = [&](const auto& e) {
    if (e.kind == TIDEGATE_EVENT_MESSAGE) game.net.now = game.net.now + base::microseconds(100);
  };
  tidegate_client_poll(game.client, 1000);
  const size_t first = game.messages.size();
  EXPECT_GE(first, 9u);
  EXPECT_LE(first, 11u);
  for (int i = 0; i < 10; ++i) tidegate_client_poll(game.client, 1000);
  ASSERT_EQ(game.messages.size(), 50u);
  for (size_t i = 0; i < 50; ++i) EXPECT_EQ(game.messages[i], std::to_string(i));
}

#ifdef TIDEGATE_SIMULATOR_TESTS
TEST(SdkClient, ABadNetworkSlowsAndStallsButLosesNothing) {
  Game game;
  game.create();
  tidegate_client_conditions c{};
  c.struct_size = sizeof c;
  ASSERT_EQ(tidegate_client_conditions_named("train", &c), 1);
  EXPECT_EQ(tidegate_client_conditions_named("moon", &c), 0);
  c = {sizeof c, 100, 20, 0.02, 0};
  EXPECT_EQ(tidegate_client_simulate(game.client, &c), TIDEGATE_CLIENT_OK);
  ASSERT_TRUE(game.enter());
  for (int i = 0; i < 200; ++i) {
    game.server.send(client::frame_of(static_cast<MessageType>(1000),
                                      base::Bytes(base::as_bytes(std::to_string(i)))));
    game.step();
  }
  ASSERT_TRUE(game.until([&] { return game.messages.size() == 200; }));
  for (size_t i = 0; i < 200; ++i) EXPECT_EQ(game.messages[i], std::to_string(i));
  game.until([] { return false; }, 3000);
  EXPECT_GT(stats_of(game).rtt_ms, 195);
  tidegate_client_drop_connection(game.client);
  game.step();
  EXPECT_TRUE(game.in(TIDEGATE_CLIENT_RECONNECTING));
  EXPECT_TRUE(game.until([&] { return game.in(TIDEGATE_CLIENT_IN_WORLD); }));
}
#endif

TEST(SdkClient, TheOverlayShowsWhatTheNetworkDoes) {
  Game game;
  game.create();
  ASSERT_TRUE(game.enter());
  tidegate_client_overlay* const overlay = tidegate_client_overlay_create(14, 7);
  tidegate_client_drawing d{};
  d.struct_size = sizeof d;
  for (int i = 0; i < 300; ++i) {
    tidegate_client_move(game.client, {1, 0, 0}, 0, 0, 0.01F);
    game.step();
    tidegate_client_overlay_sample(overlay, game.client);
  }
  EXPECT_EQ(tidegate_client_overlay_draw(overlay, 5, 0, 0, &d), 0);
  EXPECT_EQ(tidegate_client_overlay_draw(overlay, -1, 0, 0, &d), 0);
  size_t before = 0;
  std::string all;
  for (int32_t level = 0; level <= 4; ++level) {
    ASSERT_EQ(tidegate_client_overlay_draw(overlay, level, 10, 20, &d), 1);
    EXPECT_EQ(d.count == 0, level == 0);
    if (level > 0) {
      EXPECT_GT(d.count, before);
    }
    before = d.count;
    all.clear();
    for (size_t i = 0; i < d.count; ++i) {
      const tidegate_client_shape& s = d.shapes[i];
      if (s.kind == TIDEGATE_SHAPE_TEXT) all.append(s.text.data, s.text.size).append("\n");
      EXPECT_GE(std::min(s.x0, s.x1), 10) << i;
      EXPECT_LE(std::max(s.x0, s.x1), 10 + d.width) << i << " " << all;
      EXPECT_GE(std::min(s.y0, s.y1), 20) << i;
      EXPECT_LE(std::max(s.y0, s.y1), 20 + d.height) << i;
    }
  }
  EXPECT_EQ(d.shapes[0].kind, TIDEGATE_SHAPE_RECT);
  for (const char* word :
       {"inWorld", "round trip", "PLAYER_MOVE", "WORLD_STATE", "300", "inputs under way"}) {
    EXPECT_NE(all.find(word), std::string::npos) << word << " is not in:\n" << all;
  }
  tidegate_client_overlay_destroy(overlay);
}

// Everybody walks, some of them from cell to cell; own inputs are answered, now and then with a
// correction; entities are shown interpolated; events of every steady kind are told.
TEST(SdkClient, ASteadyClientTakesNoMemory) {
#ifdef __SANITIZE_ADDRESS__
  ASSERT_GT(hooked, 0);
#endif
  constexpr uint32_t kWalkers = 50;
  for (const bool packed : {false, true}) {
    Game game;
    game.create([&](auto& c) {
      c.protobuf = !packed;
      c.report_ms = 500;
    });
    game.server.steer_speed = "1067";
    ASSERT_TRUE(game.enter());
    game.messages.reserve(10'000);  // the test's own list of what it was told
    const auto cell = [](const ByteString& payload) {
      return client::frame_of(MessageType::kCellFrame, base::Bytes(payload));
    };
    std::vector<wire::CellMember> members;
    std::vector<std::string> names;
    for (uint32_t i = 0; i < kWalkers; ++i)
      names.push_back("somebody-with-a-long-name-" + std::to_string(i));
    for (uint32_t i = 0; i < kWalkers; ++i) {
      members.push_back(client::member(static_cast<uint16_t>(i), i, names[i]));
      if (!packed) zone(game, {client::state_of(names[i])}, {}, {});
    }
    // One who goes to and fro between two cells.
    const char* const wanderer = "one-who-wanders-over-a-border";
    if (packed) {
      game.server.send(cell(client::keyframe(0, 1, members)));
      game.server.send(cell(client::keyframe(1, 1, {client::member(0, 77, wanderer)})));
      // One in which nothing moves: its checksum is told now and then.
      game.server.send(cell(client::keyframe(9, 1, {client::member(0, 99, "quiet")})));
    }
    std::vector<wire::CellChange> changes(kWalkers);
    for (uint16_t i = 0; i < kWalkers; ++i) {
      changes[i].slot = i;
      changes[i].moved = true;
    }
    wire::CellLeave leave;
    leave.to_cell = true;
    uint64_t in_poll = 0;
    int steered = 0;
    for (uint32_t i = 0; i < 900; ++i) {
      game.net.now = game.net.now + base::milliseconds(16);
      if (packed) {
        // In steps that lead back, so that places stay within the cell.
        for (auto& change : changes) change.residual[0] = i % 40 < 20 ? 5 : -5;
        const bool crosses = i % 30 == 29;
        const bool back = i / 30 % 2 != 0;  // from cell 0 to 1
        leave.slot = back ? kWalkers : 0;
        leave.cell_x = back ? 1 : 0;
        const auto member = client::member(back ? 0 : kWalkers, 77, wanderer);
        std::vector<wire::CellLeave> out, none;
        std::vector<wire::CellMember> in, nobody;
        if (crosses) {
          out.push_back(leave);
          in.push_back(member);
        }
        game.server.send(
            cell(client::delta(0, i + 2, back ? out : none, back ? nobody : in, changes)) +
            cell(client::delta(1, i + 2, back ? none : out, back ? in : nobody, {})));
      } else {
        std::vector<wire::PlayerStateDelta> all;
        for (const std::string& name : names) {
          all.push_back(moved(name, static_cast<float>(i), i + 1));
        }
        zone(game, {}, {}, all);
        if (i % 30 == 29) {
          const bool there = i / 30 % 2 != 0;
          zone(game,
               there ? std::vector<wire::PlayerStateUpdate>{}
                     : std::vector{client::state_of(wanderer)},
               there ? std::vector<std::string>{wanderer} : std::vector<std::string>{}, {});
        }
      }
      wire::MoveAck ack;
      ack.client_tick = i;
      ack.server_tick = i;
      ack.corrected = i % 50 == 0;
      ack.reason = ack.corrected ? 1 : 0;
      ack.position = {static_cast<float>(i) * 0.05F, 0, 0};
      game.server.send(MessageType::kMoveAck, ack);
      const uint8_t environment[] = {0x2a, 0x00};
      if (i % 20 == 0) {
        game.server.send(client::frame_of(MessageType::kZoneUpdate, base::Bytes(environment)));
        game.server.send_acknowledged(1001, "told");
        keyed_state(game, "door", i + 1);
      }
      game.server.turn();
      if (i == 300) {
        taken = 0;
        game.counts[TIDEGATE_EVENT_ENTITY_CHANGED] = 0;
      }
      counting = i >= 300;
      const auto before = taken;
      uint32_t cursor = 0;
      tidegate_client_entity e{};
      e.struct_size = sizeof e;
      tidegate_client_poll(game.client, 0);
      while (tidegate_client_next(game.client, &cursor, &e) != 0) continue;
      tidegate_vector self;
      tidegate_client_self(game.client, &self);
      if (i % 2 == 0) {
        tidegate_client_move(game.client, {1, 0, 0}, 0, 0, 0.016F);
      } else {
        steered +=
            tidegate_client_steer(game.client, {1, 0, 0}, 0, 0, 0.032F) == TIDEGATE_CLIENT_OK;
      }
      game.send("hello", TIDEGATE_SEND_QUEUED);
      if (i % 20 == 10) game.send("for sure", TIDEGATE_SEND_ACKNOWLEDGED);
      counting = false;
      if (i >= 300) in_poll += taken - before;
      game.server.turn();
    }
    EXPECT_EQ(steered, 450);
    EXPECT_EQ(in_poll, 0u) << (packed ? "packed" : "protobuf");
    EXPECT_EQ(stats_of(game).entities, packed ? kWalkers + 3 : kWalkers + 1);
    EXPECT_EQ(game.server.types[205] > 5, packed) << "reports";
    // All of it was there.
    EXPECT_GE(game.counts[TIDEGATE_EVENT_ENTITY_CHANGED], 600 * static_cast<int>(kWalkers));
    EXPECT_EQ(game.counts[TIDEGATE_EVENT_MOVE_ACK], 900);
    EXPECT_EQ(game.counts[TIDEGATE_EVENT_MESSAGE], 45);
    EXPECT_EQ(game.counts[TIDEGATE_EVENT_KEYED_STATE], 45);
    EXPECT_EQ(game.counts[TIDEGATE_EVENT_ENVIRONMENT], 45);
    EXPECT_EQ(game.server.delivered.size(), 45u);
    EXPECT_GT(stats_of(game).corrections, 10u);
  }
}

}  // namespace
}  // namespace tidegate::sdk
