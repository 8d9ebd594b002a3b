// SPDX-License-Identifier: Apache-2.0
// World hooks in a running server: what they see and decide, entities of the game's own, and that
// hooks which throw or answer nonsense harm nobody.
#include <cmath>
#include <limits>
#include <stdexcept>

#include "live_server.h"

namespace tidegate::embed_test {
namespace {

class Hooks : public LiveServer {
 protected:
  void hook(WorldHooks hooks) {
    const Status status = server->hooks(std::move(hooks));
    ASSERT_TRUE(status) << status.text();
  }
};

std::string action(std::string_view id, std::string_view weapon) {
  uint8_t bytes[256];
  wire::PbWriter out(bytes);
  out.text(1, id);
  out.text(2, "target");
  const size_t entry = out.begin(3);
  out.text(1, "weapon");
  out.text(2, weapon);
  out.end(entry);
  out.varint(4, 9);
  return std::string(base::as_text(out.written()));
}

TEST_F(Hooks, RegistrationRefusesWhatIsWrongOrLate) {
  hook({});
  EXPECT_EQ(server->hooks({}).code(), Code::kNameTaken);
  const auto write = [](const EntityView&, StateRequest, uint8_t*, size_t) { return size_t{0}; };
  EXPECT_EQ(server->state_provider({.name = "a b", .write = write}).code(), Code::kNameInvalid);
  EXPECT_EQ(server->state_provider({.name = "a", .priority = 11, .write = write}).code(),
            Code::kOutOfRange);
  EXPECT_EQ(server->state_provider({.name = "a"}).code(), Code::kMissing);
  for (size_t i = 0; i < kStateProvidersMax; ++i) {
    ASSERT_TRUE(server->state_provider({.name = "p" + std::to_string(i), .write = write}));
    EXPECT_EQ(server->state_provider({.name = "p0", .write = write}).code(), Code::kNameTaken);
  }
  EXPECT_EQ(server->state_provider({.name = "more", .write = write}).code(), Code::kFull);
  start();
  const auto stop = stop_at_end();
  EXPECT_EQ(server->hooks({}).code(), Code::kAlreadyStarted);
  EXPECT_EQ(server->state_provider({.name = "late", .write = write}).code(), Code::kAlreadyStarted);
}

TEST_F(Hooks, InputIsRefusedChangedAndSeen) {
  std::atomic<uint32_t> flags_seen{0};
  std::atomic<uint32_t> changed_seen{0};
  WorldHooks hooks;
  hooks.before_input = [](const EntityView& player, MoveInput& m) -> uint16_t {
    EXPECT_EQ(player.id, "ann");
    EXPECT_EQ(player.kind, Kind::kPlayer);
    if (!m.has_position) return 0;
    if (m.position.x == 1) return 4321;
    if (m.position.x == 2) return 77;  // no code: taken for 4005
    if (m.position.x == 3) throw std::runtime_error("no luck");
    if (m.position.x == 4) m.position.y = std::numeric_limits<float>::quiet_NaN();
    if (m.position.x == 5) m.position = {-5, 1, 0.5F};
    m.flags |= 64;
    return 0;
  };
  hooks.after_state_change = [&](const EntityView& player, uint8_t changed) {
    flags_seen = player.flags;
    changed_seen = changed;
    if (player.position.y > 0) throw 1;  // counted, nothing else
  };
  hook(std::move(hooks));
  start();
  const auto stop = stop_at_end();
  LiveClient client(server->port(), "ann");
  ASSERT_TRUE(client.enter());
  const std::pair<float, uint32_t> refused[] = {
      {1.0F, 4321}, {2.0F, 4005}, {3.0F, 4009}, {4.0F, 4009}};
  for (const auto& [x, code] : refused) {
    ASSERT_TRUE(client.move_to(x, 0, 0));
    EXPECT_TRUE(client.last_ack.corrected) << x;
    EXPECT_EQ(client.last_ack.reason, code) << x;
    EXPECT_EQ(client.last_ack.position.x, 0) << x;
  }
  ASSERT_TRUE(client.move_to(5, 0, 0));
  EXPECT_FALSE(client.last_ack.corrected);
  EXPECT_NEAR(client.last_ack.position.x, -5, 0.02);
  EXPECT_NEAR(client.last_ack.position.y, 1, 0.02);
  EXPECT_EQ(flags_seen, 64u);
  EXPECT_EQ(changed_seen, kChangedPosition | kChangedFlags);
  EXPECT_EQ(count("tidegate_inputs_refused_by_hook_total"), 4u);
  EXPECT_EQ(count("tidegate_hook_failures_total"), 3u);
  EXPECT_EQ(errors_logged, 2);
}

TEST_F(Hooks, AViolationIsForgivenCorrectedOrTheEnd) {
  WorldHooks hooks;
  hooks.violation = [](const Violation& v) {
    EXPECT_EQ(v.code, v.wanted.x > 50'000 ? 4011 : 4010);
    if (v.count == 1) return ViolationResponse::kForgive;
    if (v.count == 2) return ViolationResponse::kCorrect;
    if (v.count == 3) throw std::runtime_error("undecided");
    return ViolationResponse::kDisconnect;
  };
  make({{"world.bounds_min", "[-60000, -1000, -60000]"},
        {"world.bounds_max", "[60000, 1000, 60000]"}});
  hook(std::move(hooks));
  start();
  const auto stop = stop_at_end();
  LiveClient client(server->port(), "ann");
  ASSERT_TRUE(client.enter());
  ASSERT_TRUE(client.move_to(2'000, 0, 0));  // forgiven
  EXPECT_FALSE(client.last_ack.corrected);
  EXPECT_EQ(client.last_ack.position.x, 2'000);
  ASSERT_TRUE(client.move_to(-2'000, 0, 0));
  EXPECT_EQ(client.last_ack.reason, 4010u);
  EXPECT_EQ(client.last_ack.position.x, 2'000);
  ASSERT_TRUE(client.move_to(61'000, 0, 0));
  EXPECT_EQ(client.last_ack.reason, 4011u);
  wire::PlayerMovement last;
  last.has_position = true;
  last.position = {62'000, 0, 0};
  last.client_tick = 1'000;
  ASSERT_TRUE(client.client().send_move(last));
  EXPECT_TRUE(client.closed());
  EXPECT_EQ(client.client().close_code(), 1008);
  EXPECT_EQ(client.next_error(), 4011u);
  EXPECT_EQ(count("tidegate_violations_forgiven_total"), 1u);
  EXPECT_EQ(count("tidegate_hook_failures_total"), 1u);
}

TEST_F(Hooks, ActionsAreValidatedBeforeTheirHandler) {
  add(kPlayerActionType, "action", [](Context& c, const Message&) {
    c.reply(1000, bytes_of("done"));
    return Outcome::kOk;
  });
  WorldHooks hooks;
  hooks.validate_action = [](Context& context, const Action& a) -> uint16_t {
    EXPECT_EQ(context.player_id(), "ann");
    EXPECT_EQ(a.target, "target");
    EXPECT_EQ(a.client_tick, 9u);
    EXPECT_EQ(action_parameter(a, "shield"), "");
    if (a.id == "throw") throw 1;
    if (a.id == "leave") context.disconnect(4100, "out");
    return action_parameter(a, "weapon") == "sword" ? 0 : 4005;
  };
  hook(std::move(hooks));
  start();
  const auto stop = stop_at_end();
  LiveClient client(server->port(), "ann");
  ASSERT_TRUE(client.enter());
  client.send(kPlayerActionType, action("hit", "sword"));
  EXPECT_EQ(client.next(1000).payload, "done");
  client.send(kPlayerActionType, action("hit", "hammer"));
  EXPECT_EQ(client.next_error(), 4005u);
  client.send(kPlayerActionType, "\x0a\x05zz");  // cut short
  EXPECT_EQ(client.next_error(), 4003u);
  client.send(kPlayerActionType, action("throw", "sword"));
  EXPECT_EQ(client.next_error(), 4009u);
  EXPECT_EQ(count("tidegate_handler_calls_total", "\"action\""), 1u);
  client.send(kPlayerActionType, action("leave", "sword"));
  EXPECT_TRUE(client.closed());
  EXPECT_EQ(client.client().close_code(), 4100);
  EXPECT_TRUE(client.received.empty());
}

// NPCs of both kinds in two places: one near, one at the edge of the usual view.
void crowd_at(World& world, std::initializer_list<Position> places) {
  if (world.tick() != 5) return;
  int number = 0;
  for (const Position& at : places) {
    const std::string name = "npc" + std::to_string(number);
    SpawnRequest request;
    request.id = name;
    request.kind = number % 2 == 0 ? Kind::kNpc : Kind::kObject;
    request.position = at;
    request.flags = 11;
    request.tag = static_cast<uint64_t>(number++);
    EXPECT_EQ(world.spawn(request), world.owns(at) ? WorldResult::kOk : WorldResult::kNotOwner);
  }
}
bool sees(LiveClient& client, const char* name) {
  return client.client().picture().entities().count(name) != 0;
}

TEST_F(Hooks, InterestRadiusDecidesHowFarAPlayerSees) {
  make({{"world.view_distance", "200"}});
  WorldHooks hooks;
  hooks.tick = [](World& world) { crowd_at(world, {{10, 0, 0}, {190, 0, 0}}); };
  hooks.interest_radius = [](const Context& context, float asked) {
    EXPECT_EQ(asked, 200);
    if (context.player_id() == "near") return 50.0F;
    if (context.player_id() == "odd") return std::numeric_limits<float>::quiet_NaN();
    return context.player_id() == "far" ? 100'000.0F : throw 1;
  };
  hook(std::move(hooks));
  add(1000, "telescope", [](Context& c, const Message&) {
    EXPECT_EQ(c.set_view_distance(-1), SendResult::kRange);
    return c.set_view_distance(200) == SendResult::kOk ? Outcome::kOk : Outcome::kFailed;
  });
  start();
  const auto stop = stop_at_end();
  for (const char* name : {"far", "odd", "throws"}) {
    LiveClient client(server->port(), name);
    ASSERT_TRUE(client.enter());
    EXPECT_TRUE(client.until([&] { return sees(client, "npc0") && sees(client, "npc1"); })) << name;
  }
  LiveClient client(server->port(), "near");
  ASSERT_TRUE(client.enter());
  EXPECT_TRUE(client.until([&] { return sees(client, "npc0"); }));
  ASSERT_TRUE(client.move_to(0.1F, 0, 0));  // ticks have passed
  EXPECT_FALSE(sees(client, "npc1"));
  client.send(1000, "");
  EXPECT_TRUE(client.until([&] { return sees(client, "npc1"); }));
  EXPECT_EQ(client.kinds["npc1"], 2u);
  EXPECT_EQ(count("tidegate_hook_failures_total"), 2u);
}

TEST_F(Hooks, TheTickHookMakesMovesAndRemovesEntities) {
  std::atomic<uint32_t> ticks{0};
  std::atomic<bool> walk{false}, end{false}, place_player{false}, moved_player{false};
  std::atomic<uint32_t> shards_seen{0};  // bits of shards that had npc0
  WorldHooks hooks;
  hooks.tick = [&](World& world) {
    ++ticks;
    EXPECT_EQ(world.shard_count(), 2u);
    EXPECT_FLOAT_EQ(world.seconds_per_tick(), 1.0F / 60);
    EXPECT_FALSE(world.owns({1e30F, 0, 0}));
    EXPECT_FALSE(world.owns({std::nanf(""), 0, 0}));
    crowd_at(world, {{10, 0, 0}, {20, 0, 0}});
    EntityView entity;
    EXPECT_FALSE(world.find({0xdead}, &entity));
    EXPECT_EQ(world.move({0xdead}, {}), WorldResult::kNotHere);
    for (uint32_t at = 0; world.next(&at, &entity);) {
      EntityView again;
      EXPECT_TRUE(world.find(entity.ref, &again));
      EXPECT_EQ(again.id, entity.id);
      if (entity.kind == Kind::kPlayer) {
        EXPECT_EQ(world.despawn(entity.ref), WorldResult::kRange);
        if (!place_player.exchange(false)) continue;
        Move to;
        to.position = {-3, 2, -5};
        to.has_position = true;
        moved_player = world.move(entity.ref, to) == WorldResult::kOk;
        continue;
      }
      EXPECT_EQ(entity.flags, 11u);
      EXPECT_EQ("npc" + std::to_string(entity.tag), entity.id);
      if (entity.tag != 0) continue;
      shards_seen |= 1u << world.shard();
      if (end) {
        EXPECT_EQ(world.despawn(entity.ref), WorldResult::kOk);
        EXPECT_FALSE(world.find(entity.ref, &again));
        continue;
      }
      if (!walk) continue;
      Move to;
      // Around a circle of 80 m: many cells, both shards.
      const float angle = static_cast<float>(world.tick()) * 0.02F;
      to.position = {80 * std::cos(angle), 1, 80 * std::sin(angle)};
      to.has_position = true;
      EXPECT_EQ(world.move(entity.ref, to), WorldResult::kOk);
      const uint8_t state[] = {'s', static_cast<uint8_t>(world.shard())};
      EXPECT_EQ(world.set_custom(entity.ref, {state, 2}), WorldResult::kOk);
      const std::string large(kCustomBytesMax + 1, 'x');
      EXPECT_EQ(world.set_custom(entity.ref, bytes_of(large)), WorldResult::kTooLarge);
      to.yaw = std::nanf("");
      EXPECT_EQ(world.move(entity.ref, to), WorldResult::kRange);
    }
    SpawnRequest bad;
    EXPECT_EQ(world.spawn(bad), WorldResult::kBadName);
    bad.id = "bad";
    bad.kind = Kind::kPlayer;
    EXPECT_EQ(world.spawn(bad), WorldResult::kRange);
  };
  make({{"world.cell_size", "32"}});
  hook(std::move(hooks));
  start();
  const auto stop = stop_at_end();
  LiveClient client(server->port(), "ann");
  ASSERT_TRUE(client.enter());
  EXPECT_TRUE(client.until([&] { return sees(client, "npc0") && sees(client, "npc1"); }));
  walk = true;
  std::string states;
  EXPECT_TRUE(client.until([&] {
    const std::string& state = client.customs["npc0"];
    if (state.size() == 2 && states.find(state[1]) == std::string::npos) states += state[1];
    return states.size() == 2 && client.client().picture().entities().at("npc0").position.y == 1;
  })) << "one custom state from each shard";
  EXPECT_EQ(shards_seen, 3u);
  const uint64_t acks = client.acks;
  place_player = true;
  EXPECT_TRUE(client.until([&] { return client.acks != acks; }));
  EXPECT_TRUE(moved_player);
  EXPECT_TRUE(client.last_ack.corrected);
  EXPECT_EQ(client.last_ack.reason, 0u);
  EXPECT_NEAR(client.last_ack.position.x, -3, 0.02);
  end = true;
  EXPECT_TRUE(client.until([&] { return !sees(client, "npc0"); }));
  EXPECT_TRUE(sees(client, "npc1"));
  const client::PictureCounters& c = client.client().picture().counters();
  EXPECT_EQ(c.malformed + c.violations, 0u);
  EXPECT_GE(count("tidegate_tick_hook_seconds_count"), uint64_t{ticks} - 2);
  EXPECT_EQ(count("tidegate_hook_failures_total"), 0u);
}

TEST_F(Hooks, ATickHookThatThrowsOrIsSlowIsCounted) {
  make({{"handlers.tick_budget", "1ms"}});
  std::atomic<uint32_t> ticks{0};
  WorldHooks hooks;
  hooks.tick = [&](World&) {
    const uint32_t n = ++ticks;
    if (n % 16 == 0) ::poll(nullptr, 0, 5);
    if (n % 16 == 1) throw std::runtime_error("no luck");
  };
  hook(std::move(hooks));
  start();
  const auto stop = stop_at_end();
  LiveClient client(server->port(), "ann");
  ASSERT_TRUE(client.enter());
  EXPECT_TRUE(client.until([&] { return ticks > 40; }));
  EXPECT_GE(count("tidegate_hook_failures_total"), 2u);
  EXPECT_GE(count("tidegate_tick_hook_over_budget_total"), 2u);
  EXPECT_TRUE(client.move_to(1, 0, 0));
  EXPECT_EQ(errors_logged, 1);
}

TEST_F(Hooks, RoomForNpcsIsBounded) {
  make({{"world.npcs", "7"}, {"shards.count", "1"}, {"limits.connections", "10"}});
  std::atomic<uint32_t> made{0}, refused{0};
  WorldHooks hooks;
  hooks.tick = [&](World& world) {
    for (int i = 0; i < 40 && world.tick() == 3; ++i) {
      const std::string name = "n" + std::to_string(i);
      SpawnRequest request;
      request.id = name;
      const WorldResult result = world.spawn(request);
      EXPECT_TRUE(result == WorldResult::kOk || result == WorldResult::kFull);
      ++(result == WorldResult::kOk ? made : refused);
    }
  };
  hook(std::move(hooks));
  start();
  const auto stop = stop_at_end();
  LiveClient client(server->port(), "ann");
  client.until([&] { return made + refused == 40; });
  EXPECT_EQ(made, 7u);
  EXPECT_TRUE(client.enter());  // what is for players is not taken by NPCs
}

}  // namespace
}  // namespace tidegate::embed_test
