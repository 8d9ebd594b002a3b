/* SPDX-License-Identifier: Apache-2.0
 * tidegate as a C library, for C and for languages that speak its calls. It is the C++ API of
 * server.h, handlers.h and world_hooks.h in other clothes: what they say about threads, lifetimes,
 * limits and what a function of yours may do holds here too.
 *
 * Rules: every struct that crosses the border begins with `struct_size`, which whoever fills it
 * sets to sizeof of its own version. Fields that a smaller one lacks are zero; a larger one is
 * taken when what this library does not know is zero. New fields are added at the end. Handles are
 * opaque. Texts are pointer and size, not ended by a zero, valid for the call; `const char*` are
 * ended by one and copied. No exception leaves the library; one that leaves a function of yours
 * (written in C++) ends where it was called and counts as its failure.
 *
 * Thread: one host thread for create, registrations, start, stop, run, destroy; any for
 * request_stop, set_environment, metrics and the ports; functions of yours run on the shards.
 * Owner: the caller has the server and destroys it. Limits: as in the C++ headers.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "tidegate/c_types.h"
#include "tidegate/export.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Grows when something is taken away or changes its meaning, not when something is added. */
#define TIDEGATE_ABI_VERSION 1
TIDEGATE_API uint32_t tidegate_abi_version(void);

typedef struct tidegate_server tidegate_server;   /* until tidegate_server_destroy */
typedef struct tidegate_context tidegate_context; /* for one call */
typedef struct tidegate_world tidegate_world;     /* for one call */

/* What a call on the server came to. */
typedef enum tidegate_code {
  TIDEGATE_OK = 0,
  TIDEGATE_CONFIG = 1,
  TIDEGATE_ENVIRONMENT = 2,
  TIDEGATE_TYPE_RESERVED = 3,
  TIDEGATE_TYPE_TAKEN = 4,
  TIDEGATE_NAME_INVALID = 5,
  TIDEGATE_NAME_TAKEN = 6,
  TIDEGATE_OUT_OF_RANGE = 7,
  TIDEGATE_MISSING = 8,
  TIDEGATE_FULL = 9,
  TIDEGATE_ALREADY_STARTED = 10,
  TIDEGATE_NOT_RUNNING = 11,
  TIDEGATE_STRUCT_SIZE = 100, /* a struct_size that is none, or unknown fields that are not zero */
  TIDEGATE_INTERNAL = 101     /* out of memory and the like */
} tidegate_code;

/* Filled when a call fails; every `tidegate_error*` may be null. */
typedef struct tidegate_error {
  size_t struct_size; /* set by the caller */
  int32_t code;       /* tidegate_code of the first problem */
  char key[64];       /* its configuration key, or empty */
  char text[1024];    /* all problems, one on a line, cut to fit; ended by a zero */
} tidegate_error;

/* ---- server ---- */

typedef struct tidegate_setting {
  const char* key;
  const char* value;
} tidegate_setting;

typedef struct tidegate_config {
  size_t struct_size;
  const char* file; /* null: none */
  const char* text; /* null: none */
  const tidegate_setting* settings;
  size_t setting_count;
  void* user; /* for log */
  /* level: 0 debug, 1 info, 2 warning, 3 error; null: silence */
  void (*log)(void* user, int32_t level, tidegate_text text);
} tidegate_config;

TIDEGATE_API tidegate_code tidegate_server_create(const tidegate_config* config,
                                                  tidegate_server** out, tidegate_error* error);
/* Stops at once what runs; null is nothing. */
TIDEGATE_API void tidegate_server_destroy(tidegate_server* server);
TIDEGATE_API tidegate_code tidegate_server_start(tidegate_server* server, tidegate_error* error);
TIDEGATE_API void tidegate_server_stop(tidegate_server* server, uint32_t grace_ms);
/* start, sleep until request_stop, stop. */
TIDEGATE_API tidegate_code tidegate_server_run(tidegate_server* server, uint32_t grace_ms,
                                               tidegate_error* error);
/* Also in a signal handler. */
TIDEGATE_API void tidegate_server_request_stop(tidegate_server* server);
TIDEGATE_API int32_t tidegate_server_running(const tidegate_server* server);
TIDEGATE_API uint16_t tidegate_server_port(const tidegate_server* server);
TIDEGATE_API uint16_t tidegate_server_admin_port(const tidegate_server* server);
/* Copies at most `room` bytes of what /metrics shows; returns how many there are. */
TIDEGATE_API size_t tidegate_server_metrics(const tidegate_server* server, char* out, size_t room);

typedef struct tidegate_environment {
  size_t struct_size;
  float time_of_day;
  const char* weather;                /* null: empty */
  const tidegate_setting* properties; /* keys and values */
  size_t property_count;
} tidegate_environment;
TIDEGATE_API tidegate_code tidegate_server_set_environment(tidegate_server* server,
                                                           const tidegate_environment* environment,
                                                           tidegate_error* error);

/* ---- handlers ---- */

typedef struct tidegate_message {
  size_t struct_size;
  uint32_t type;
  uint32_t priority;
  tidegate_bytes payload;
  uint64_t sequence;
  int64_t timestamp;
} tidegate_message;

typedef enum tidegate_outcome {
  TIDEGATE_HANDLED = 0,
  TIDEGATE_INVALID = 1,       /* ERROR 4003 */
  TIDEGATE_NOT_PERMITTED = 2, /* ERROR 4005 */
  TIDEGATE_FAILED = 3         /* ERROR 4009; also every other number */
} tidegate_outcome;

typedef struct tidegate_handler {
  size_t struct_size;
  uint32_t type;
  uint32_t priority;
  int32_t compress;
  const char* name;
  void* user;
  int32_t (*function)(void* user, tidegate_context* context, const tidegate_message* message);
  /* 1: the payload is one of this type; others are ERROR 4003. Null: all are. */
  int32_t (*schema)(void* user, tidegate_bytes payload);
} tidegate_handler;
TIDEGATE_API tidegate_code tidegate_server_handle(tidegate_server* server,
                                                  const tidegate_handler* handler,
                                                  tidegate_error* error);

typedef enum tidegate_sent {
  TIDEGATE_SENT = 0,
  TIDEGATE_SEND_CLOSED = 1,
  TIDEGATE_SEND_BAD_TYPE = 2,
  TIDEGATE_SEND_TOO_LARGE = 3,
  TIDEGATE_SEND_BUSY = 4,
  TIDEGATE_SEND_RANGE = 5
} tidegate_sent;

TIDEGATE_API tidegate_text tidegate_context_player_id(const tidegate_context* context);
TIDEGATE_API tidegate_text tidegate_context_user_id(const tidegate_context* context);
TIDEGATE_API tidegate_text tidegate_context_permissions(const tidegate_context* context);
TIDEGATE_API uint32_t tidegate_context_tick(const tidegate_context* context);
TIDEGATE_API uint32_t tidegate_context_shard(const tidegate_context* context);
TIDEGATE_API int32_t tidegate_context_in_world(const tidegate_context* context);
TIDEGATE_API tidegate_vector tidegate_context_position(const tidegate_context* context);
TIDEGATE_API tidegate_sent tidegate_context_reply(tidegate_context* context, uint32_t type,
                                                  tidegate_bytes payload);
TIDEGATE_API tidegate_sent tidegate_context_answer(tidegate_context* context, uint32_t code,
                                                   tidegate_text message);
TIDEGATE_API tidegate_sent tidegate_context_send_to_player(tidegate_context* context,
                                                           tidegate_text player_id, uint32_t type,
                                                           tidegate_bytes payload);
/* Once and in order, also when the player comes back later: see handlers.h. */
TIDEGATE_API tidegate_sent tidegate_context_send_acknowledged(tidegate_context* context,
                                                              tidegate_text player_id,
                                                              uint32_t type,
                                                              tidegate_bytes payload);
TIDEGATE_API tidegate_sent tidegate_context_send_to_nearby(tidegate_context* context, float radius,
                                                           uint32_t type, tidegate_bytes payload);
TIDEGATE_API tidegate_sent tidegate_context_disconnect(tidegate_context* context, uint16_t code,
                                                       tidegate_text reason);
TIDEGATE_API tidegate_sent tidegate_context_set_view_distance(tidegate_context* context,
                                                              float metres);
TIDEGATE_API tidegate_sent tidegate_context_mark_state(tidegate_context* context);

/* ---- events (events.h) ---- */

typedef enum tidegate_target_kind {
  TIDEGATE_TO_USER = 0,
  TIDEGATE_TO_PLAYER = 1,
  TIDEGATE_TO_RADIUS = 2,
  TIDEGATE_TO_CELL = 3,
  TIDEGATE_TO_ZONE = 4,
  TIDEGATE_TO_EVERYONE = 5,
  TIDEGATE_TO_GROUP = 6
} tidegate_target_kind;

typedef struct tidegate_target {
  size_t struct_size;
  uint32_t kind;            /* tidegate_target_kind */
  float radius;             /* TO_RADIUS, metres */
  tidegate_text id;         /* TO_USER, TO_PLAYER, TO_ZONE, TO_GROUP */
  tidegate_vector position; /* TO_RADIUS, TO_CELL */
} tidegate_target;

/* From any thread while the server runs; CLOSED: it does not. */
TIDEGATE_API tidegate_sent tidegate_server_send(tidegate_server* server,
                                                const tidegate_target* target, uint32_t type,
                                                tidegate_bytes payload);
TIDEGATE_API tidegate_sent tidegate_server_publish(tidegate_server* server, tidegate_text topic,
                                                   tidegate_bytes data, uint32_t event_type);
TIDEGATE_API tidegate_sent tidegate_context_send(tidegate_context* context,
                                                 const tidegate_target* target, uint32_t type,
                                                 tidegate_bytes payload);
TIDEGATE_API tidegate_sent tidegate_context_publish(tidegate_context* context, tidegate_text topic,
                                                    tidegate_bytes data, uint32_t event_type);

typedef enum tidegate_event_kind {
  TIDEGATE_TOPIC_MESSAGE = 1,
  TIDEGATE_USER_ONLINE = 2,
  TIDEGATE_USER_OFFLINE = 4,
  TIDEGATE_USER_STATUS = 8,
  TIDEGATE_GROUP_CHANGED = 16
} tidegate_event_kind;

typedef struct tidegate_event {
  size_t struct_size;
  uint32_t kind;      /* tidegate_event_kind */
  tidegate_text name; /* topic, or user id */
  uint64_t offset;
  uint32_t event_type;
  uint32_t status; /* PlayerStatus */
  tidegate_text source_user;
  tidegate_bytes data; /* of the message, or the custom status */
  int64_t timestamp;
  uint32_t shard;
} tidegate_event;

typedef struct tidegate_event_handler {
  size_t struct_size;
  const char* name;
  const char* pattern; /* null: all */
  uint32_t priority;
  uint32_t kinds; /* tidegate_event_kind bits; 0: all */
  void* user;
  int32_t (*can_handle)(void* user, const tidegate_event* event); /* null: always */
  /* 0: done; everything else counts as a failure. */
  int32_t (*handle)(void* user, const tidegate_event* event);
} tidegate_event_handler;
/* At any time, from any thread, out of a handler too. */
TIDEGATE_API tidegate_code tidegate_server_on_event(tidegate_server* server,
                                                    const tidegate_event_handler* handler,
                                                    tidegate_error* error);
TIDEGATE_API tidegate_code tidegate_server_remove_event_handler(tidegate_server* server,
                                                                const char* name,
                                                                tidegate_error* error);

/* 1: permitted. Before start, once. */
TIDEGATE_API tidegate_code tidegate_server_topic_policy(
    tidegate_server* server, void* user,
    int32_t (*policy)(void* user, tidegate_text topic, tidegate_text user_id,
                      tidegate_text permissions, int32_t publish),
    tidegate_error* error);

/* ---- keyed state (states.h) ---- */

typedef enum tidegate_state_scope {
  TIDEGATE_STATE_ZONE = 0,
  TIDEGATE_STATE_PLACE = 1,
  TIDEGATE_STATE_SESSION = 2,
  TIDEGATE_STATE_VIEW = 3
} tidegate_state_scope;

typedef enum tidegate_state_rule {
  TIDEGATE_RULE_SERVER = 0,
  TIDEGATE_RULE_VERSION = 1,
  TIDEGATE_RULE_FIRST = 2,
  TIDEGATE_RULE_OWNER = 3
} tidegate_state_rule;

typedef struct tidegate_state {
  size_t struct_size;
  uint32_t scope; /* tidegate_state_scope */
  uint32_t rule;  /* tidegate_state_rule */
  tidegate_text key;
  tidegate_bytes value;
  tidegate_text player; /* of session and view */
  tidegate_text owner;
  tidegate_vector position; /* of a place */
  float radius;             /* of a place; 0: world.view_distance */
  uint32_t lifetime_ms;     /* 0: until it is removed */
  uint32_t hold_ms;         /* of a claim; 0: until it is released */
} tidegate_state;
/* From any thread while the server runs; RANGE: a struct, key, scope, rule or number that is none.
 */
TIDEGATE_API tidegate_sent tidegate_server_set_state(tidegate_server* server,
                                                     const tidegate_state* state);
TIDEGATE_API tidegate_sent tidegate_server_remove_state(tidegate_server* server, uint32_t scope,
                                                        tidegate_text key, tidegate_text player);
TIDEGATE_API tidegate_sent tidegate_context_set_state(tidegate_context* context,
                                                      const tidegate_state* state);
TIDEGATE_API tidegate_sent tidegate_context_remove_state(tidegate_context* context, uint32_t scope,
                                                         tidegate_text key, tidegate_text player);
TIDEGATE_API tidegate_sent tidegate_world_set_state(tidegate_world* world,
                                                    const tidegate_state* state);
TIDEGATE_API tidegate_sent tidegate_world_remove_state(tidegate_world* world, uint32_t scope,
                                                       tidegate_text key, tidegate_text player);

/* What a client wants to do with a state, for the hook state_attempt. */
typedef struct tidegate_state_attempt {
  size_t struct_size;
  tidegate_text player;
  tidegate_text key;
  uint32_t scope;
  uint32_t operation; /* 0 set, 1 claim, 2 release */
  tidegate_bytes wanted;
  tidegate_bytes value; /* that holds */
  tidegate_text owner;
  uint64_t version;
  uint32_t reason; /* what the rule says: 0 applied, else as StateReason of states.h */
  uint32_t refused;
  uint32_t tick;
} tidegate_state_attempt;

typedef enum tidegate_state_verdict {
  TIDEGATE_STATE_BY_RULE = 0, /* also every other number */
  TIDEGATE_STATE_APPLY = 1,
  TIDEGATE_STATE_REFUSE = 2,
  TIDEGATE_STATE_DISCONNECT = 3
} tidegate_state_verdict;

/* ---- groups (groups.h) ---- */

typedef struct tidegate_group_command {
  size_t struct_size;
  uint32_t action;     /* GroupAction: 1 create ... 9 disband */
  uint32_t role;       /* MemberRole, of action 7 */
  int32_t open;        /* actions 1 and 8: not 0: everybody may join */
  tidegate_text group; /* "<kind>.<rest>" */
  tidegate_text user;  /* whom it is about */
} tidegate_group_command;
TIDEGATE_API tidegate_sent tidegate_server_group(tidegate_server* server,
                                                 const tidegate_group_command* command);
TIDEGATE_API tidegate_sent tidegate_context_group(tidegate_context* context,
                                                  const tidegate_group_command* command);
/* 0: the rules decide; 1: permitted, as for a leader; else refused. Before start, once. */
TIDEGATE_API tidegate_code tidegate_server_group_policy(
    tidegate_server* server, void* user,
    int32_t (*policy)(void* user, uint32_t action, tidegate_text group, tidegate_text user_id,
                      tidegate_text permissions, tidegate_text target),
    tidegate_error* error);

/* ---- world ---- */

typedef enum tidegate_kind {
  TIDEGATE_PLAYER = 0,
  TIDEGATE_NPC = 1,
  TIDEGATE_OBJECT = 2
} tidegate_kind;

typedef enum tidegate_changed {
  TIDEGATE_POSITION = 1,
  TIDEGATE_YAW = 2,
  TIDEGATE_VELOCITY = 4,
  TIDEGATE_FLAGS = 8
} tidegate_changed;

typedef struct tidegate_entity {
  size_t struct_size; /* of the library, or of the caller in next and find */
  uint32_t ref;       /* 0: none */
  uint32_t kind;      /* tidegate_kind */
  tidegate_text id;
  tidegate_vector position;
  tidegate_vector velocity;
  float yaw;
  uint32_t flags;
  uint64_t tag;
} tidegate_entity;

/* What a move of a client has (`fields`: tidegate_changed without FLAGS), or is to have. */
typedef struct tidegate_move {
  size_t struct_size;
  uint32_t fields; /* in tidegate_world_move with FLAGS */
  uint32_t flags;
  tidegate_vector position;
  tidegate_vector velocity;
  float yaw;
  uint32_t client_tick; /* of a client's move; not to be changed */
} tidegate_move;

typedef struct tidegate_violation {
  size_t struct_size;
  const tidegate_entity* player;
  tidegate_vector wanted;
  uint32_t code;
  uint32_t count;
} tidegate_violation;

typedef enum tidegate_response {
  TIDEGATE_CORRECT = 0, /* also every other number */
  TIDEGATE_FORGIVE = 1,
  TIDEGATE_DISCONNECT = 2
} tidegate_response;

typedef struct tidegate_action {
  size_t struct_size;
  tidegate_text id;
  tidegate_text target;
  uint32_t client_tick;
  tidegate_bytes payload;
} tidegate_action;
/* Empty when it is not there. */
TIDEGATE_API tidegate_text tidegate_action_parameter(const tidegate_action* action,
                                                     const char* name);

/* Null members cost nothing. `user` is the first argument of all. */
typedef struct tidegate_hooks {
  size_t struct_size;
  void* user;
  uint32_t (*before_input)(void* user, const tidegate_entity* player, tidegate_move* input);
  void (*after_state_change)(void* user, const tidegate_entity* player, uint32_t changed);
  int32_t (*violation)(void* user, const tidegate_violation* violation);
  uint32_t (*validate_action)(void* user, tidegate_context* context, const tidegate_action* action);
  float (*interest_radius)(void* user, const tidegate_context* context, float asked);
  void (*tick)(void* user, tidegate_world* world);
  int32_t (*state_attempt)(void* user, const tidegate_state_attempt* attempt);
} tidegate_hooks;
TIDEGATE_API tidegate_code tidegate_server_hooks(tidegate_server* server,
                                                 const tidegate_hooks* hooks,
                                                 tidegate_error* error);

typedef struct tidegate_state_provider {
  size_t struct_size;
  const char* name;
  uint32_t priority;
  int32_t delta;
  void* user;
  /* request: 0 the whole, 1 the change since the last call. Returns how many bytes it wrote. */
  size_t (*write)(void* user, const tidegate_entity* entity, int32_t request, uint8_t* out,
                  size_t room);
} tidegate_state_provider;
TIDEGATE_API tidegate_code tidegate_server_state_provider(tidegate_server* server,
                                                          const tidegate_state_provider* provider,
                                                          tidegate_error* error);

typedef enum tidegate_done {
  TIDEGATE_DONE = 0,
  TIDEGATE_NOT_HERE = 1,
  TIDEGATE_NOT_OWNER = 2,
  TIDEGATE_NO_ROOM = 3,
  TIDEGATE_BAD_NAME = 4,
  TIDEGATE_BAD_NUMBER = 5,
  TIDEGATE_TOO_LARGE = 6,
  TIDEGATE_BAD_STRUCT = 100 /* struct_size */
} tidegate_done;

typedef struct tidegate_spawn {
  size_t struct_size;
  tidegate_text id;
  uint32_t kind; /* TIDEGATE_NPC or TIDEGATE_OBJECT */
  uint32_t flags;
  tidegate_vector position;
  tidegate_vector velocity;
  float yaw;
  uint64_t tag;
} tidegate_spawn;

TIDEGATE_API uint32_t tidegate_world_shard(const tidegate_world* world);
TIDEGATE_API uint32_t tidegate_world_shard_count(const tidegate_world* world);
TIDEGATE_API uint32_t tidegate_world_tick(const tidegate_world* world);
TIDEGATE_API float tidegate_world_seconds_per_tick(const tidegate_world* world);
TIDEGATE_API int32_t tidegate_world_owns(const tidegate_world* world, tidegate_vector position);
/* `ref` may be null. */
TIDEGATE_API tidegate_done tidegate_world_spawn(tidegate_world* world,
                                                const tidegate_spawn* request, uint32_t* ref);
TIDEGATE_API tidegate_done tidegate_world_move(tidegate_world* world, uint32_t ref,
                                               const tidegate_move* to);
TIDEGATE_API tidegate_done tidegate_world_despawn(tidegate_world* world, uint32_t ref);
TIDEGATE_API tidegate_done tidegate_world_set_custom(tidegate_world* world, uint32_t ref,
                                                     tidegate_bytes bytes);
TIDEGATE_API tidegate_done tidegate_world_mark_state(tidegate_world* world, uint32_t ref);
/* 1 and the next entity, or 0. `*cursor` begins at 0; out->struct_size is set before. */
TIDEGATE_API int32_t tidegate_world_next(const tidegate_world* world, uint32_t* cursor,
                                         tidegate_entity* out);
TIDEGATE_API int32_t tidegate_world_find(const tidegate_world* world, uint32_t ref,
                                         tidegate_entity* out);

#ifdef __cplusplus
}
#endif
