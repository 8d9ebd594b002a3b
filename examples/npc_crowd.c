/* SPDX-License-Identifier: Apache-2.0
 * A crowd of NPCs that wander about the middle of the world, driven from the tick hook, in C.
 *
 *   npc-crowd [PORT [SECONDS]]     port 7400; without SECONDS until SIGINT or SIGTERM
 *
 * What the crowd knows of an NPC stands in an array at the place its tag names. The tag goes with
 * the NPC from shard to shard, and only the shard that owns it touches its place: no lock.
 */
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tidegate/tidegate.h"

enum { kCrowd = 200, kTicksPerSecond = 60 };
static const float kRange = 60;    /* metres from the middle */
static const float kStride = 1.4F; /* metres a second */

struct npc {
  float heading; /* radians */
  uint32_t seed;
};

struct crowd {
  tidegate_server* server;
  uint32_t last_tick; /* 0: none */
  atomic_uint spawned;
  struct npc npcs[kCrowd];
};

static tidegate_server* running; /* for the signal handler */

static void on_signal(int number) {
  (void)number;
  tidegate_server_request_stop(running);
}

static float next_unit(uint32_t* seed) { /* 0 to 1 */
  *seed = *seed * 1664525U + 1013904223U;
  return (float)(*seed >> 8) / 16777216.0F;
}

static tidegate_vector first_place(uint32_t number) {
  const float angle = (float)number * 2.4F;
  const float radius = kRange * sqrtf((float)number / kCrowd);
  const tidegate_vector place = {radius * cosf(angle), 0, radius * sinf(angle)};
  return place;
}

/* Every shard makes the NPCs whose first place it owns. */
static void populate(struct crowd* crowd, tidegate_world* world) {
  for (uint32_t i = 0; i < kCrowd; ++i) {
    const tidegate_vector place = first_place(i);
    if (!tidegate_world_owns(world, place)) continue;
    char id[16];
    tidegate_spawn spawn;
    memset(&spawn, 0, sizeof spawn);
    spawn.struct_size = sizeof spawn;
    spawn.id.data = id;
    spawn.id.size = (size_t)snprintf(id, sizeof id, "npc-%u", (unsigned)i);
    spawn.kind = TIDEGATE_NPC;
    spawn.position = place;
    spawn.tag = i;
    crowd->npcs[i].seed = i + 1;
    crowd->npcs[i].heading = 6.2831853F * next_unit(&crowd->npcs[i].seed);
    if (tidegate_world_spawn(world, &spawn, NULL) == TIDEGATE_DONE) {
      atomic_fetch_add(&crowd->spawned, 1);
    }
  }
}

static void wander(struct npc* npc, tidegate_world* world, const tidegate_entity* entity) {
  const float seconds = tidegate_world_seconds_per_tick(world);
  const tidegate_vector* at = &entity->position;
  if (at->x * at->x + at->z * at->z > kRange * kRange) {
    npc->heading = atan2f(-at->z, -at->x); /* back to the middle */
  } else if (next_unit(&npc->seed) < seconds) {
    npc->heading += 2 * next_unit(&npc->seed) - 1; /* about once a second */
  }
  tidegate_move move;
  memset(&move, 0, sizeof move);
  move.struct_size = sizeof move;
  move.fields = TIDEGATE_POSITION | TIDEGATE_VELOCITY | TIDEGATE_YAW;
  move.velocity.x = kStride * cosf(npc->heading);
  move.velocity.z = kStride * sinf(npc->heading);
  move.position.x = at->x + move.velocity.x * seconds;
  move.position.y = at->y;
  move.position.z = at->z + move.velocity.z * seconds;
  move.yaw = npc->heading;
  tidegate_world_move(world, entity->ref, &move);
}

static void on_tick(void* user, tidegate_world* world) {
  struct crowd* crowd = user;
  const uint32_t tick = tidegate_world_tick(world);
  if (tick == 1) populate(crowd, world);

  tidegate_entity entity;
  entity.struct_size = sizeof entity;
  for (uint32_t at = 0; tidegate_world_next(world, &at, &entity);) {
    if (entity.kind == TIDEGATE_NPC) wander(&crowd->npcs[entity.tag], world, &entity);
  }
  if (crowd->last_tick != 0 && tick == crowd->last_tick) {
    tidegate_server_request_stop(crowd->server);
  }
}

static void on_log(void* user, int32_t level, tidegate_text text) {
  (void)user;
  if (level > 0) fprintf(stderr, "%.*s\n", (int)text.size, text.data);
}

int main(int argc, char** argv) {
  static struct crowd crowd;
  char listen[32];
  snprintf(listen, sizeof listen, "127.0.0.1:%d", argc > 1 ? atoi(argv[1]) : 7400);
  if (argc > 2) crowd.last_tick = (uint32_t)atoi(argv[2]) * kTicksPerSecond;

  const tidegate_setting settings[] = {
      {"listen.websocket", listen},
      {"admin.listen", ""},
      {"auth.hs256_secret", "only an example: thirty-two bytes or more"},
      {"limits.connections", "500"},
      {"world.npcs", "200"},
  };
  tidegate_config config;
  memset(&config, 0, sizeof config);
  config.struct_size = sizeof config;
  config.settings = settings;
  config.setting_count = sizeof settings / sizeof settings[0];
  config.log = on_log;
  tidegate_error error;
  error.struct_size = sizeof error;
  if (tidegate_server_create(&config, &crowd.server, &error) != TIDEGATE_OK) {
    fprintf(stderr, "%s\n", error.text);
    return 2;
  }

  tidegate_hooks hooks;
  memset(&hooks, 0, sizeof hooks);
  hooks.struct_size = sizeof hooks;
  hooks.user = &crowd;
  hooks.tick = on_tick;
  tidegate_code code = tidegate_server_hooks(crowd.server, &hooks, &error);
  if (code == TIDEGATE_OK) {
    running = crowd.server;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    code = tidegate_server_run(crowd.server, 2000, &error);
  }
  if (code != TIDEGATE_OK) fprintf(stderr, "%s\n", error.text);
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
  tidegate_server_destroy(crowd.server);
  if (code != TIDEGATE_OK) return 1;
  printf("%u NPCs walked\n", atomic_load(&crowd.spawned));
  return atomic_load(&crowd.spawned) == kCrowd ? 0 : 1;
}
