/* SPDX-License-Identifier: Apache-2.0
 * Keyed state in C: chests that the first player who claims one has, for ten seconds at most, a sky
 * that brightens for everybody, and sparks that end by themselves.
 *
 *   chests [PORT [SECONDS]]     port 7400; without SECONDS until SIGINT or SIGTERM
 *
 * A client claims with STATE_CHANGE (claimState of the browser SDK, change_state of client.hpp).
 * Who asks for what it may not, again and again, is disconnected.
 */
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tidegate/tidegate.h"

enum { kChests = 5, kTicksPerSecond = 60, kRefusedMost = 20 };

struct game {
  tidegate_server* server;
  uint32_t last_tick; /* 0: none */
  atomic_uint set;
};

static tidegate_server* running; /* for the signal handler */

static void on_signal(int number) {
  (void)number;
  tidegate_server_request_stop(running);
}

static tidegate_state state_of(uint32_t scope, char* key, const char* name, uint32_t number,
                               const char* value) {
  tidegate_state state;
  memset(&state, 0, sizeof state);
  state.struct_size = sizeof state;
  state.scope = scope;
  state.key.data = key;
  state.key.size = (size_t)snprintf(key, 32, "%s.%u", name, (unsigned)number);
  state.value.data = value;
  state.value.size = strlen(value);
  return state;
}

static void put(struct game* game, tidegate_world* world, const tidegate_state* state) {
  if (tidegate_world_set_state(world, state) == TIDEGATE_SENT) atomic_fetch_add(&game->set, 1);
}

/* Any shard may set any key; here the first one does. */
static void on_tick(void* user, tidegate_world* world) {
  struct game* game = user;
  const uint32_t tick = tidegate_world_tick(world);
  if (tidegate_world_shard(world) != 0) return;
  char key[32];
  if (tick == 1) {
    for (uint32_t i = 0; i < kChests; ++i) {
      tidegate_state chest = state_of(TIDEGATE_STATE_PLACE, key, "chest", i, "full");
      chest.rule = TIDEGATE_RULE_FIRST;
      chest.position.x = (float)i * 10;
      chest.radius = 15;
      chest.hold_ms = 10000;
      put(game, world, &chest);
    }
  }
  if (tick % kTicksPerSecond == 1) {
    char hour[8];
    snprintf(hour, sizeof hour, "%u", (unsigned)(tick / kTicksPerSecond % 24));
    const tidegate_state sky = state_of(TIDEGATE_STATE_ZONE, key, "hour", 0, hour);
    put(game, world, &sky);
    tidegate_state spark = state_of(TIDEGATE_STATE_PLACE, key, "spark", tick, "");
    spark.radius = 40;
    spark.lifetime_ms = 500;
    put(game, world, &spark);
  }
  if (game->last_tick != 0 && tick == game->last_tick) tidegate_server_request_stop(game->server);
}

static int32_t on_attempt(void* user, const tidegate_state_attempt* attempt) {
  (void)user;
  /* An empty chest is nobody's business. */
  if (attempt->reason == 0 && attempt->value.size == 5 &&
      memcmp(attempt->value.data, "empty", 5) == 0) {
    return TIDEGATE_STATE_REFUSE;
  }
  return attempt->refused > kRefusedMost ? TIDEGATE_STATE_DISCONNECT : TIDEGATE_STATE_BY_RULE;
}

static void on_log(void* user, int32_t level, tidegate_text text) {
  (void)user;
  if (level > 0) fprintf(stderr, "%.*s\n", (int)text.size, text.data);
}

int main(int argc, char** argv) {
  static struct game game;
  char listen[32];
  snprintf(listen, sizeof listen, "127.0.0.1:%d", argc > 1 ? atoi(argv[1]) : 7400);
  if (argc > 2) game.last_tick = (uint32_t)atoi(argv[2]) * kTicksPerSecond;

  const tidegate_setting settings[] = {
      {"listen.websocket", listen},
      {"admin.listen", ""},
      {"auth.hs256_secret", "only an example: thirty-two bytes or more"},
      {"limits.connections", "500"},
  };
  tidegate_config config;
  memset(&config, 0, sizeof config);
  config.struct_size = sizeof config;
  config.settings = settings;
  config.setting_count = sizeof settings / sizeof settings[0];
  config.log = on_log;
  tidegate_error error;
  error.struct_size = sizeof error;
  if (tidegate_server_create(&config, &game.server, &error) != TIDEGATE_OK) {
    fprintf(stderr, "%s\n", error.text);
    return 2;
  }

  tidegate_hooks hooks;
  memset(&hooks, 0, sizeof hooks);
  hooks.struct_size = sizeof hooks;
  hooks.user = &game;
  hooks.tick = on_tick;
  hooks.state_attempt = on_attempt;
  tidegate_code code = tidegate_server_hooks(game.server, &hooks, &error);
  if (code == TIDEGATE_OK) {
    running = game.server;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    code = tidegate_server_run(game.server, 2000, &error);
  }
  if (code != TIDEGATE_OK) fprintf(stderr, "%s\n", error.text);
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
  tidegate_server_destroy(game.server);
  if (code != TIDEGATE_OK) return 1;
  printf("%u states were set\n", atomic_load(&game.set));
  return atomic_load(&game.set) >= kChests + 2 ? 0 : 1;
}
