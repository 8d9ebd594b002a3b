// SPDX-License-Identifier: Apache-2.0
// The C API: sizes of structs between versions, errors as values, and a server driven through it.
#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <cstring>
#include <string>

#include "live_client.h"
#include "tidegate/tidegate.h"

namespace tidegate::embed_test {
namespace {

template <class T>
T sized() {
  T t{};
  t.struct_size = sizeof(T);
  return t;
}
std::string text(tidegate_text t) { return std::string(t.data, t.size); }
tidegate_text text(const char* t) { return {t, std::strlen(t)}; }

class CApi : public ::testing::Test {
 protected:
  CApi() : error(sized<tidegate_error>()) {
    config = sized<tidegate_config>();
    config.settings = settings;
    config.setting_count = std::size(settings);
    config.user = this;
    config.log = [](void* user, int32_t level, tidegate_text) {
      static_cast<CApi*>(user)->errors_logged += level == 3;
    };
  }
  ~CApi() override { tidegate_server_destroy(server); }
  void create() {
    ASSERT_EQ(tidegate_server_create(&config, &server, &error), TIDEGATE_OK) << error.text;
  }
  void start() { ASSERT_EQ(tidegate_server_start(server, &error), TIDEGATE_OK) << error.text; }

  const tidegate_setting settings[6] = {
      {"listen.websocket", "127.0.0.1:0"}, {"admin.listen", ""},  {"auth.hs256_secret", kSecret},
      {"limits.connections", "50"},        {"shards.count", "2"}, {"world.cell_size", "32"}};
  tidegate_config config;
  tidegate_error error;
  tidegate_server* server = nullptr;
  std::atomic<int> errors_logged{0};
};

TEST_F(CApi, StructsOfOtherVersionsAreTakenWhereTheyCanBe) {
  EXPECT_EQ(tidegate_abi_version(), uint32_t{TIDEGATE_ABI_VERSION});
  EXPECT_EQ(tidegate_server_create(nullptr, &server, &error), TIDEGATE_STRUCT_SIZE);
  EXPECT_EQ(error.code, TIDEGATE_STRUCT_SIZE);
  EXPECT_EQ(tidegate_server_create(&config, nullptr, &error), TIDEGATE_MISSING);
  config.struct_size = 0;
  EXPECT_EQ(tidegate_server_create(&config, &server, nullptr), TIDEGATE_STRUCT_SIZE);
  config.struct_size = 1 << 20;
  EXPECT_EQ(tidegate_server_create(&config, &server, nullptr), TIDEGATE_STRUCT_SIZE);
  // A later version with one field more: fine while that says nothing.
  struct Later {
    tidegate_config now;
    uint64_t more;
  } later{config, 0};
  later.now.struct_size = sizeof later;
  ASSERT_EQ(tidegate_server_create(&later.now, &server, &error), TIDEGATE_OK) << error.text;
  tidegate_server_destroy(server);
  later.more = 1;
  EXPECT_EQ(tidegate_server_create(&later.now, &server, &error), TIDEGATE_STRUCT_SIZE);
  EXPECT_EQ(server, nullptr);
  // An earlier one without the log: its bytes behind the size are not looked at.
  config.struct_size = offsetof(tidegate_config, user);
  create();
  // An earlier error with a shorter text gets no more than it has room for.
  tidegate_handler handler = sized<tidegate_handler>();
  handler.type = 5;
  std::memset(error.text, '#', sizeof error.text);
  error.struct_size = offsetof(tidegate_error, text);
  EXPECT_EQ(tidegate_server_handle(server, &handler, &error), TIDEGATE_TYPE_RESERVED);
  EXPECT_EQ(error.code, TIDEGATE_TYPE_RESERVED);
  EXPECT_EQ(error.text[0], '#');
}

TEST_F(CApi, ProblemsAreValues) {
  tidegate_setting bad[] = {{"limits.connections", "-1"}, {"no.such", "1"}};
  config.settings = bad;
  config.setting_count = 2;
  EXPECT_EQ(tidegate_server_create(&config, &server, &error), TIDEGATE_CONFIG);
  EXPECT_NE(std::string(error.key), "");
  EXPECT_NE(std::string(error.text).find("no.such"), std::string::npos);
  EXPECT_EQ(server, nullptr);
  config.settings = settings;
  config.setting_count = std::size(settings);
  create();
  tidegate_handler handler = sized<tidegate_handler>();
  handler.type = 1000;
  handler.name = "x";
  EXPECT_EQ(tidegate_server_handle(server, &handler, &error), TIDEGATE_MISSING);
  handler.function = [](void*, tidegate_context*, const tidegate_message*) -> int32_t { return 0; };
  handler.priority = 1'000;
  EXPECT_EQ(tidegate_server_handle(server, &handler, &error), TIDEGATE_OUT_OF_RANGE);
  handler.priority = 5;
  handler.name = nullptr;
  EXPECT_EQ(tidegate_server_handle(server, &handler, &error), TIDEGATE_NAME_INVALID);
  tidegate_environment environment = sized<tidegate_environment>();
  environment.time_of_day = 30;
  EXPECT_EQ(tidegate_server_set_environment(server, &environment, &error), TIDEGATE_OUT_OF_RANGE);
  tidegate_state_provider provider = sized<tidegate_state_provider>();
  provider.name = "p";
  EXPECT_EQ(tidegate_server_state_provider(server, &provider, &error), TIDEGATE_MISSING);
  tidegate_hooks hooks = sized<tidegate_hooks>();
  EXPECT_EQ(tidegate_server_hooks(server, &hooks, &error), TIDEGATE_OK);
  EXPECT_EQ(tidegate_server_hooks(server, &hooks, &error), TIDEGATE_NAME_TAKEN);
  EXPECT_EQ(tidegate_server_running(server), 0);
  tidegate_server_stop(server, 0);  // nothing runs
  tidegate_server_destroy(nullptr);
}

TEST_F(CApi, HandlersTalk) {
  create();
  tidegate_handler handler = sized<tidegate_handler>();
  handler.type = 1000;
  handler.name = "echo";
  handler.user = this;
  handler.function = [](void* user, tidegate_context* c, const tidegate_message* m) -> int32_t {
    EXPECT_NE(user, nullptr);
    EXPECT_EQ(m->struct_size, sizeof *m);
    EXPECT_EQ(text(tidegate_context_player_id(c)), "ann");
    EXPECT_EQ(text(tidegate_context_user_id(c)), "ann");
    EXPECT_EQ(text(tidegate_context_permissions(c)), "gm");
    EXPECT_EQ(tidegate_context_in_world(c), 1);
    EXPECT_LT(tidegate_context_shard(c), 2u);
    EXPECT_EQ(tidegate_context_position(c).x, 0);
    EXPECT_EQ(tidegate_context_reply(c, 13, m->payload), TIDEGATE_SEND_BAD_TYPE);
    EXPECT_EQ(tidegate_context_set_view_distance(c, -1), TIDEGATE_SEND_RANGE);
    EXPECT_EQ(tidegate_context_send_to_nearby(c, 5, 1000, m->payload), TIDEGATE_SENT);
    EXPECT_EQ(tidegate_context_send_to_player(c, text("ann"), 1001, m->payload), TIDEGATE_SENT);
    EXPECT_EQ(tidegate_context_send_acknowledged(c, text(""), 1001, m->payload),
              TIDEGATE_SEND_RANGE);
    EXPECT_EQ(tidegate_context_send_acknowledged(c, text("ben"), 1001, m->payload), TIDEGATE_SENT);
    EXPECT_EQ(tidegate_context_answer(c, 3, text("heard")), TIDEGATE_SENT);
    EXPECT_EQ(tidegate_context_reply(c, 1002, m->payload), TIDEGATE_SENT);
    const std::string asked(static_cast<const char*>(m->payload.data), m->payload.size);
    if (asked == "out") tidegate_context_disconnect(c, 4100, text("out"));
    if (asked == "throw") throw 1;  // as C++ behind the C API may
    return asked == "odd" ? 77 : TIDEGATE_HANDLED;
  };
  ASSERT_EQ(tidegate_server_handle(server, &handler, &error), TIDEGATE_OK) << error.text;
  start();
  EXPECT_EQ(tidegate_server_running(server), 1);
  EXPECT_EQ(tidegate_server_admin_port(server), 0);
  EXPECT_EQ(tidegate_server_handle(server, &handler, &error), TIDEGATE_ALREADY_STARTED);
  LiveClient client(tidegate_server_port(server), "ann", {"gm"});
  ASSERT_TRUE(client.enter());
  client.send(1000, "hi");
  EXPECT_EQ(client.next(1001).payload, "hi");
  EXPECT_EQ(client.next(1002).payload, "hi");
  EXPECT_EQ(client.next(14).type, 14u);
  client.send(1000, "odd");
  EXPECT_EQ(client.next_error(), 4009u);
  client.send(1000, "throw");
  EXPECT_EQ(client.next_error(), 4009u);
  EXPECT_EQ(errors_logged, 1);
  std::string metrics(tidegate_server_metrics(server, nullptr, 0) + 4096, '\0');
  tidegate_server_metrics(server, metrics.data(), metrics.size());
  EXPECT_EQ(metric(metrics, "tidegate_handler_calls_total", "\"echo\""), 3u);
  client.send(1000, "out");
  EXPECT_TRUE(client.closed());
  EXPECT_EQ(client.client().close_code(), 4100);
  tidegate_server_stop(server, 100);
  EXPECT_EQ(tidegate_server_running(server), 0);
}

struct Game {
  std::atomic<uint32_t> changed{0}, violations{0}, asked{0};
  static Game& of(void* user) { return *static_cast<Game*>(user); }
};

void tick_of_game(void*, tidegate_world* world) {
  EXPECT_LT(tidegate_world_shard(world), tidegate_world_shard_count(world));
  EXPECT_FLOAT_EQ(tidegate_world_seconds_per_tick(world), 1.0F / 60);
  if (tidegate_world_tick(world) == 3) {
    tidegate_spawn spawn = sized<tidegate_spawn>();
    spawn.id = text("guard");
    spawn.kind = TIDEGATE_OBJECT;
    spawn.position = {8, 0, 8};
    spawn.tag = 99;
    uint32_t ref = 7;
    const bool own = tidegate_world_owns(world, spawn.position) != 0;
    EXPECT_EQ(tidegate_world_spawn(world, &spawn, &ref), own ? TIDEGATE_DONE : TIDEGATE_NOT_OWNER);
    EXPECT_EQ(ref != 0, own);
    spawn.kind = 256;  // not a player in disguise
    EXPECT_EQ(tidegate_world_spawn(world, &spawn, nullptr), TIDEGATE_BAD_NUMBER);
    spawn.struct_size = 3;
    EXPECT_EQ(tidegate_world_spawn(world, &spawn, nullptr), TIDEGATE_BAD_STRUCT);
  }
  tidegate_entity e = sized<tidegate_entity>();
  for (uint32_t at = 0; tidegate_world_next(world, &at, &e) != 0;) {
    EXPECT_EQ(e.struct_size, sizeof e);
    // A caller of an earlier version has no tag.
    tidegate_entity earlier{};
    earlier.struct_size = offsetof(tidegate_entity, tag);
    earlier.tag = 5;
    EXPECT_EQ(tidegate_world_find(world, e.ref, &earlier), 1);
    EXPECT_EQ(earlier.tag, 5u);
    EXPECT_EQ(text(earlier.id), text(e.id));
    if (e.kind == TIDEGATE_PLAYER) continue;
    EXPECT_EQ(e.tag, 99u);
    tidegate_move move = sized<tidegate_move>();
    move.fields = TIDEGATE_POSITION | TIDEGATE_FLAGS;
    move.position = {8, 2, 8};
    move.flags = 12;
    EXPECT_EQ(tidegate_world_move(world, e.ref, &move), TIDEGATE_DONE);
    EXPECT_EQ(tidegate_world_set_custom(world, e.ref, {"x", 1}), TIDEGATE_BAD_NUMBER);
    EXPECT_EQ(tidegate_world_mark_state(world, e.ref), TIDEGATE_DONE);
  }
  EXPECT_EQ(tidegate_world_despawn(world, 0xdead), TIDEGATE_NOT_HERE);
  EXPECT_EQ(tidegate_world_find(world, 0xdead, &e), 0);
}

TEST_F(CApi, HooksAndProvidersOfAGame) {
  create();
  Game game;
  tidegate_hooks hooks = sized<tidegate_hooks>();
  hooks.user = &game;
  hooks.tick = tick_of_game;
  hooks.before_input = [](void*, const tidegate_entity* player, tidegate_move* m) -> uint32_t {
    EXPECT_EQ(text(player->id), "ann");
    if (m->position.y == 9) return 4242;
    if (m->position.y == 10) return 1'000'000;  // no code: 4005
    m->position.y += 1;
    return 0;
  };
  hooks.after_state_change = [](void* user, const tidegate_entity*, uint32_t changed) {
    Game::of(user).changed = changed;
  };
  hooks.violation = [](void* user, const tidegate_violation* v) -> int32_t {
    EXPECT_EQ(v->code, 4010u);
    return ++Game::of(user).violations == 1 ? TIDEGATE_FORGIVE : 99;
  };
  hooks.validate_action = [](void*, tidegate_context*, const tidegate_action* a) -> uint32_t {
    EXPECT_EQ(text(a->id), "hit");
    const tidegate_text weapon = tidegate_action_parameter(a, "weapon");
    EXPECT_EQ(tidegate_action_parameter(a, "none").size, 0u);
    return weapon.size == 0 ? 4003 : 4005;
  };
  hooks.interest_radius = [](void* user, const tidegate_context*, float asked) {
    ++Game::of(user).asked;
    return asked / 2;
  };
  ASSERT_EQ(tidegate_server_hooks(server, &hooks, &error), TIDEGATE_OK) << error.text;
  tidegate_state_provider provider = sized<tidegate_state_provider>();
  provider.name = "name";
  provider.priority = 5;
  provider.write = [](void*, const tidegate_entity* e, int32_t request, uint8_t* out,
                      size_t room) -> size_t {
    EXPECT_EQ(request, 0);
    if (room < e->id.size) return 0;
    std::memcpy(out, e->id.data, e->id.size);
    return e->id.size;
  };
  ASSERT_EQ(tidegate_server_state_provider(server, &provider, &error), TIDEGATE_OK) << error.text;
  tidegate_handler handler = sized<tidegate_handler>();
  handler.type = 101;
  handler.name = "action";
  handler.function = [](void*, tidegate_context*, const tidegate_message*) -> int32_t { return 0; };
  ASSERT_EQ(tidegate_server_handle(server, &handler, &error), TIDEGATE_OK) << error.text;
  tidegate_environment environment = sized<tidegate_environment>();
  environment.weather = "rain";
  ASSERT_EQ(tidegate_server_set_environment(server, &environment, &error), TIDEGATE_OK);
  start();
  LiveClient client(tidegate_server_port(server), "ann");
  ASSERT_TRUE(client.enter());
  EXPECT_EQ(client.environments.at(0), "\x12\x04rain");
  EXPECT_EQ(game.asked, 1u);
  EXPECT_TRUE(client.until([&] { return client.customs["guard"] == "\x12\x05guard"; }));
  EXPECT_TRUE(client.until([&] {
    const auto& seen = client.client().picture().entities();
    return seen.count("guard") != 0 && seen.at("guard").flags == 12;
  }));
  ASSERT_TRUE(client.move_to(1, 0, 0));
  EXPECT_NEAR(client.last_ack.position.y, 1, 0.02);
  EXPECT_EQ(game.changed, uint32_t{TIDEGATE_POSITION});
  ASSERT_TRUE(client.move_to(1, 9, 0));
  EXPECT_EQ(client.last_ack.reason, 4242u);
  ASSERT_TRUE(client.move_to(1, 10, 0));
  EXPECT_EQ(client.last_ack.reason, 4005u);
  ASSERT_TRUE(client.move_to(1'000, 0, 0));
  EXPECT_FALSE(client.last_ack.corrected);
  ASSERT_TRUE(client.move_to(-1'000, 0, 0));
  EXPECT_EQ(client.last_ack.reason, 4010u);
  client.send(101,
              "\x0a\x03hit\x1a\x0d\x0a\x06weapon\x12\x03"
              "bow");
  EXPECT_EQ(client.next_error(), 4005u);
  client.send(101, "\x0a\x03hit");
  EXPECT_EQ(client.next_error(), 4003u);
}

}  // namespace
}  // namespace tidegate::embed_test
