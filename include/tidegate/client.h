/* SPDX-License-Identifier: Apache-2.0
 * libtidegate-client: a player in a shared world, for C and for languages that speak its calls.
 * client.hpp is the same for C++17. docs/client-cpp.md shows it in use, docs/sdk-spec.md says what
 * it does on the wire.
 *
 * Everything happens in tidegate_client_poll: it sends, receives, keeps time, reconnects and calls
 * your functions; no thread is started, unless `network_thread` asks for one, and nothing of yours
 * is called outside of poll. Call it once a frame. Other calls only note what is wanted, and send
 * at once what can be sent at once.
 *
 * Rules: every struct that crosses the border begins with `struct_size`, which whoever fills it
 * sets to sizeof of its own version; fields that a smaller one lacks are zero, a larger one is
 * taken when what this library does not know is zero. Handles are opaque. Texts and bytes are
 * pointer and size, valid for the call; `const char*` are ended by a zero and copied.
 *
 * Thread: one for each client, any of yours. Owner: the caller has the client and destroys it, in
 * every state, also inside a callback. Limits: those of the configuration; after the start memory
 * grows only with the number of entities and cells in view.
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
#define TIDEGATE_CLIENT_ABI_VERSION 1
TIDEGATE_API uint32_t tidegate_client_abi_version(void);

typedef struct tidegate_client tidegate_client; /* until tidegate_client_destroy */

typedef enum tidegate_client_state {
  TIDEGATE_CLIENT_CLOSED = 0,
  TIDEGATE_CLIENT_CONNECTING = 1,
  TIDEGATE_CLIENT_CONNECTED = 2, /* the upgrade is done */
  TIDEGATE_CLIENT_AUTHENTICATING = 3,
  TIDEGATE_CLIENT_AUTHENTICATED = 4,
  TIDEGATE_CLIENT_IN_WORLD = 5, /* the own entity stands in the state that came */
  TIDEGATE_CLIENT_RECONNECTING = 6
} tidegate_client_state;

typedef enum tidegate_client_result {
  TIDEGATE_CLIENT_OK = 0,
  TIDEGATE_CLIENT_QUEUED = 1,      /* kept; goes out when it can */
  TIDEGATE_CLIENT_WOULD_BLOCK = 2, /* no room: try again after TIDEGATE_EVENT_DRAINED */
  TIDEGATE_CLIENT_DROPPED = 3,     /* not kept: nobody is logged in, or the wrong state */
  TIDEGATE_CLIENT_INVALID = 4,     /* an argument or a struct_size that is none */
  TIDEGATE_CLIENT_MEMORY = 5,      /* no memory */
  TIDEGATE_CLIENT_DESTROYED = 6    /* poll: a callback destroyed the client */
} tidegate_client_result;

/* ---- transport ---- */

/* A byte stream to a server, and the clocks. Without one: TCP, TLS and the clocks of this machine.
 * None of the functions may block. `link` is what open returned, until close. */
typedef struct tidegate_client_transport {
  size_t struct_size;
  void* user;
  /* Begins to connect; null: that cannot be. `secure`: TLS is asked for (wss). */
  void* (*open)(void* user, const char* host, uint16_t port, int32_t secure);
  /* 1: connected; 0: not yet; -1: failed or lost. */
  int32_t (*status)(void* user, void* link);
  /* Bytes taken, 0: none, would block; -1: lost. */
  int64_t (*send)(void* user, void* link, const void* data, size_t size);
  /* Bytes stored, 0: none there; -1: ended or lost. */
  int64_t (*receive)(void* user, void* link, void* data, size_t room);
  void (*close)(void* user, void* link);
  /* Waits until the link can be read (or written, when asked), at most so long. May be null. The
   * one function that blocks; only tidegate_client_wait calls it. `link` may be null. */
  void (*wait)(void* user, void* link, int32_t for_write, int32_t most_ms);
  int64_t (*now_ns)(void* user); /* monotonic */
  int64_t (*unix_ms)(void* user);
  uint64_t (*random)(void* user); /* for jitter, masks, handshakes */
  /* Why the link was lost, or (link null) why open failed, for people: one sentence or empty. May
   * be null. */
  const char* (*problem)(void* user, void* link);
} tidegate_client_transport;

/* ---- configuration ---- */

typedef struct tidegate_client_config {
  size_t struct_size;
  const char* const* endpoints; /* "ws://host:port/path", in order of preference */
  size_t endpoint_count;
  const char* token;             /* null: none, or asked for by TIDEGATE_EVENT_TOKEN_WANTED */
  int32_t ask_token;             /* 1: TIDEGATE_EVENT_TOKEN_WANTED comes before each try,
                                  * and before a token runs out on an open connection */
  int32_t protobuf;              /* 1: state in protobuf instead of packed cells */
  float view_distance;           /* metres; 0: the server's */
  uint32_t max_bytes_per_second; /* asked of the server; 0: its own choice */
  int32_t no_interpolation;      /* 1: no poses of others are kept; saves 2 KB for each */

  /* Times in milliseconds; 0: what stands behind. */
  uint32_t backoff_first_ms; /* 1,000 */
  uint32_t backoff_most_ms;  /* 60,000 */
  uint32_t login_timeout_ms; /* 10,000, from the beginning of a try */
  uint32_t heartbeat_ms;     /* 5,000, or the server's interval when that is shorter */
  uint32_t silence_ms;       /* 15,000 without a byte: the connection is lost */
  uint32_t stable_ms;        /* 5,000 in the world: the next wait is a short one again */
  uint32_t report_ms;        /* 10,000 between checksums of quiet cells; UINT32_MAX: none */

  /* Limits; 0: what stands behind. */
  uint32_t queue_messages;    /* 1,024 kept messages */
  uint32_t queue_bytes;       /* 262,144 of their payloads */
  uint32_t send_buffer_bytes; /* 65,536 that the socket has not taken */
  uint32_t message_bytes;     /* 1,048,576 of one message from the server */
  uint32_t entities_most;     /* 65,536 */

  /* Own movement: the place after an input; null: position + velocity * dt. It must give the same
   * for the same arguments, because inputs are applied again when the server corrects. */
  void (*step)(void* user, const double at[3], const float velocity[3], double dt, double out[3]);
  void* step_user;
  const tidegate_client_transport* transport; /* null: TCP, and TLS for wss://; copied */
  const char*
      tls_authorities;      /* PEM text of whom to trust; null: the system's; without `transport` */
  int32_t tls_insecure;     /* 1: any certificate is good; for tests */
  int32_t spread_endpoints; /* 1: begin with a random one; a crowd is spread over them */
  /* Of tidegate_client_steer: the place instead of `to`, for walls and the like; null: `to`. The
   * game's server must decide the same, and so must a second call. */
  void (*limit)(void* user, const double from[3], const double to[3], double out[3]);
  void* limit_user;
  int32_t polling; /* 0: HTTP long polling when WebSocket is blocked; 1: always; 2: never */
  /* 1: names, sockets and TLS on a thread of the library's; without `transport`. Wide, because
   * older callers have padding here. */
  int64_t network_thread;
} tidegate_client_config;

/* `problem`: gets one sentence on failure, ended by a zero; may be null. */
TIDEGATE_API tidegate_client_result tidegate_client_create(const tidegate_client_config* config,
                                                           tidegate_client** out, char* problem,
                                                           size_t problem_room);
/* In every state, also inside a callback; nothing of yours is called after it. Null is nothing. */
TIDEGATE_API void tidegate_client_destroy(tidegate_client* client);

/* ---- connection ---- */

/* Begins to connect, and to reconnect until disconnect. Nothing when it has begun already. */
TIDEGATE_API void tidegate_client_connect(tidegate_client* client);
/* Ends the connection and all tries. */
TIDEGATE_API void tidegate_client_disconnect(tidegate_client* client, const char* reason);
/* The network is another one, or there again: a wait ends at once, a connection is looked at. */
TIDEGATE_API void tidegate_client_network_changed(tidegate_client* client);
/* The answer to TIDEGATE_EVENT_TOKEN_WANTED; `attempt` is that event's. DROPPED: too late. A null
 * token says that there is none: the try has failed. While logged in it goes on the open
 * connection (TOKEN_REFRESH), and without one the connection ends with the token it has. */
TIDEGATE_API tidegate_client_result tidegate_client_give_token(tidegate_client* client,
                                                               uint32_t attempt, const char* token);
/* One turn. It ends after `budget_us` even if messages wait; 0: when none do. OK, or DESTROYED. */
TIDEGATE_API tidegate_client_result tidegate_client_poll(tidegate_client* client,
                                                         uint32_t budget_us);
/* For programs that have nothing else to wait for: sleeps until there is something for poll, at
 * most so long. Calls nothing of yours. */
TIDEGATE_API void tidegate_client_wait(tidegate_client* client, uint32_t most_ms);
/* poll and wait in turns until so much time is over. OK, or DESTROYED. Not in a callback. */
TIDEGATE_API tidegate_client_result tidegate_client_run(tidegate_client* client, uint32_t ms);

TIDEGATE_API tidegate_client_state tidegate_client_get_state(const tidegate_client* client);
TIDEGATE_API const char* tidegate_client_state_name(tidegate_client_state state);
/* The own entity's id; empty before the first login. Valid until the next poll. */
TIDEGATE_API tidegate_text tidegate_client_player_id(const tidegate_client* client);

/* ---- sending ---- */

typedef enum tidegate_client_mode {
  TIDEGATE_SEND_NOW = 0,         /* now or not at all */
  TIDEGATE_SEND_QUEUED = 1,      /* kept until it is sent, over reconnects */
  TIDEGATE_SEND_LATEST = 2,      /* the same; takes the place of one of the same type and key */
  TIDEGATE_SEND_ACKNOWLEDGED = 3 /* kept until the server has it; in order, once */
} tidegate_client_mode;

typedef struct tidegate_client_send_options {
  size_t struct_size;
  int32_t mode;     /* tidegate_client_mode */
  int32_t priority; /* 0 to 10; higher leaves the queue first; 5 is usual */
  uint32_t ttl_ms;  /* dropped when not sent by then; 0: no limit */
  uint32_t key;     /* of TIDEGATE_SEND_LATEST */
} tidegate_client_send_options;

/* `options` null: NOW. Any type that docs/protocol.md lets clients send. */
TIDEGATE_API tidegate_client_result
tidegate_client_send(tidegate_client* client, uint32_t type, const void* payload, size_t size,
                     const tidegate_client_send_options* options);
/* Bytes the socket has not taken, and payload bytes that wait in the queue. */
TIDEGATE_API size_t tidegate_client_buffered(const tidegate_client* client);
TIDEGATE_API size_t tidegate_client_queued(const tidegate_client* client);

/* Moves the predicted self by `velocity` (m/s) for `dt` seconds and tells the server. */
TIDEGATE_API tidegate_client_result tidegate_client_move(tidegate_client* client,
                                                         tidegate_vector velocity, float yaw,
                                                         uint32_t flags, float dt);

/* Tells the server where the player wants to go (a direction of length up to 1) for `dt` seconds:
 * the server moves it, at its own speed, and the predicted self goes the same way at once. Call it
 * with every picture, also while the player stands. DROPPED: not in the world, or a server without
 * steering. Do not mix it with move. */
TIDEGATE_API tidegate_client_result tidegate_client_steer(tidegate_client* client,
                                                          tidegate_vector direction, float yaw,
                                                          uint32_t flags, float dt);

/* ---- world ---- */

typedef struct tidegate_client_entity {
  size_t struct_size;
  tidegate_text id; /* valid until the next poll */
  uint32_t kind;    /* 0 player, 1 NPC, 2 object */
  uint32_t flags;
  uint32_t tick; /* server tick of this state */
  int32_t is_self;
  tidegate_vector position; /* metres; the newest state received */
  tidegate_vector velocity; /* zero with packed cells */
  float yaw;                /* radians about y */
  tidegate_vector shown;    /* where to draw it: interpolated, or predicted for the own one */
  float shown_yaw;
  tidegate_bytes custom; /* the game's own; empty when there is none */
} tidegate_client_entity;

/* Walks over all entities: set *cursor to 0, call until it returns 0. The time shown is taken when
 * a walk begins: one walk for each picture. Not across a poll. */
TIDEGATE_API int32_t tidegate_client_next(tidegate_client* client, uint32_t* cursor,
                                          tidegate_client_entity* out);
/* One entity by id; its `shown` is of the last walk's time. 0: not in view. */
TIDEGATE_API int32_t tidegate_client_find(tidegate_client* client, tidegate_text id,
                                          tidegate_client_entity* out);
/* Where the own player is, predicted and smoothed. 0: not in the world yet. */
TIDEGATE_API int32_t tidegate_client_self(tidegate_client* client, tidegate_vector* out);
/* The server's clock; 0: not known yet. `tick` counts with its fraction. Both may be null. */
TIDEGATE_API int32_t tidegate_client_server_time(const tidegate_client* client, double* unix_ms,
                                                 double* tick);

/* ---- keyed state (docs/embedding.md) ---- */

typedef struct tidegate_client_keyed_state {
  size_t struct_size;
  tidegate_text key; /* texts and bytes are valid until the next poll */
  tidegate_bytes value;
  uint64_t version;
  uint32_t scope; /* 0 zone, 1 place, 2 session, 3 view */
  tidegate_text owner;
  tidegate_vector position; /* of a place */
  uint32_t expires_in_ms;   /* when it was told; 0: never. The server says when it has gone */
} tidegate_client_keyed_state;

typedef enum tidegate_client_state_operation {
  TIDEGATE_STATE_OPERATION_SET = 0,
  TIDEGATE_STATE_OPERATION_CLAIM = 1,
  TIDEGATE_STATE_OPERATION_RELEASE = 2
} tidegate_client_state_operation;

/* All that this client is shown: set *cursor to 0, call until it returns 0. Not across a poll. */
TIDEGATE_API int32_t tidegate_client_next_state(const tidegate_client* client, uint32_t* cursor,
                                                tidegate_client_keyed_state* out);
/* 0: there is none. */
TIDEGATE_API int32_t tidegate_client_find_state(const tidegate_client* client, uint32_t scope,
                                                tidegate_text key,
                                                tidegate_client_keyed_state* out);
/* Asks the server; TIDEGATE_EVENT_STATE_RESULT with this `request` says what came of it. The copy
 * here changes when the server says so. With `base_version` 0 the version does not matter. */
TIDEGATE_API tidegate_client_result tidegate_client_change_state(
    tidegate_client* client, uint32_t scope, tidegate_text key, int32_t operation,
    tidegate_bytes value, uint64_t base_version, uint32_t* request);

/* ---- events ---- */

typedef enum tidegate_client_event_kind {
  TIDEGATE_EVENT_STATE = 0,          /* state, state_before */
  TIDEGATE_EVENT_LOST = 1,           /* code (close code, 1006: none), text, retry_ms */
  TIDEGATE_EVENT_TOKEN_WANTED = 2,   /* attempt */
  TIDEGATE_EVENT_WORLD_ENTERED = 3,  /* after each login: a world that begins anew */
  TIDEGATE_EVENT_RESUMED = 4,        /* code 1: the session of before goes on; text says why not */
  TIDEGATE_EVENT_ENTITY_ADDED = 5,   /* entity */
  TIDEGATE_EVENT_ENTITY_CHANGED = 6, /* entity */
  TIDEGATE_EVENT_ENTITY_REMOVED = 7, /* entity, for the last time */
  TIDEGATE_EVENT_MOVE_ACK = 8,       /* position, code (0, or why it was refused), tick */
  TIDEGATE_EVENT_MESSAGE = 9,        /* type, payload, sequence: what has no own event */
  TIDEGATE_EVENT_SERVER_ERROR = 10,  /* code, text */
  TIDEGATE_EVENT_DRAINED = 11,       /* after WOULD_BLOCK: there is room again */
  TIDEGATE_EVENT_EXPIRED = 12,       /* type, payload: its time was over before it was sent */
  TIDEGATE_EVENT_DESYNC = 13,        /* code 1 checksum, 2 reference, 3 malformed; a cell's state */
  TIDEGATE_EVENT_ENVIRONMENT = 14,   /* payload: EnvironmentState in protobuf */
  TIDEGATE_EVENT_KEYED_STATE = 15,   /* keyed; code 1: it is gone */
  TIDEGATE_EVENT_STATE_RESULT = 16   /* attempt: the request; text: the key; code: 0 or the reason;
                                        keyed: what holds when it was refused, or null */
} tidegate_client_event_kind;

typedef struct tidegate_client_event {
  size_t struct_size;
  int32_t kind;
  int32_t state, state_before;
  uint32_t code;
  uint32_t type;
  uint32_t attempt;
  uint32_t tick;
  int64_t retry_ms; /* -1: there will be no try */
  uint64_t sequence;
  tidegate_text text;
  tidegate_bytes payload;
  tidegate_vector position;
  const tidegate_client_entity* entity;
  const tidegate_client_keyed_state* keyed;
} tidegate_client_event;

typedef void (*tidegate_client_listener)(void* user, tidegate_client* client,
                                         const tidegate_client_event* event);
/* Calls `listener` for events of one kind. Returns what ends that; 0: 64 are registered already. In
 * callbacks too: a new one begins with the next event. */
TIDEGATE_API uint32_t tidegate_client_listen(tidegate_client* client, int32_t kind,
                                             tidegate_client_listener listener, void* user);
/* At once: not called again, even for the event under way. */
TIDEGATE_API void tidegate_client_unlisten(tidegate_client* client, uint32_t subscription);

/* ---- abilities ---- */

/* Cooldowns and the cost of one resource that grows back, predicted without waiting: the game asks
 * `use`, tells the server (PLAYER_ACTION or a message of its own) and passes its answer on. The
 * server's word is final. Needs no client; at most 64 abilities, and 64 uses without an answer. */
typedef struct tidegate_client_abilities tidegate_client_abilities;
typedef enum tidegate_client_use {
  TIDEGATE_USE_OK = 0,
  TIDEGATE_USE_COOLDOWN = 1,
  TIDEGATE_USE_COST = 2,
  TIDEGATE_USE_FULL = 3,   /* too many uses wait for an answer */
  TIDEGATE_USE_UNKNOWN = 4 /* no such ability */
} tidegate_client_use;
/* The resource starts full and grows by `per_second` up to `most`. Null: no memory. */
TIDEGATE_API tidegate_client_abilities* tidegate_client_abilities_create(double most,
                                                                         double per_second);
TIDEGATE_API void tidegate_client_abilities_destroy(tidegate_client_abilities* abilities);
/* 0: `ability` is 64 or more. */
TIDEGATE_API int32_t tidegate_client_abilities_define(tidegate_client_abilities* abilities,
                                                      uint32_t ability, double cooldown_ms,
                                                      double cost);
/* `number` names the use in its answer. Times are of one clock of yours. */
TIDEGATE_API tidegate_client_use tidegate_client_abilities_use(tidegate_client_abilities* abilities,
                                                               uint32_t ability, double now_ms,
                                                               uint32_t* number);
/* The server took the use, or (0) refused it: then it never was. */
TIDEGATE_API void tidegate_client_abilities_answer(tidegate_client_abilities* abilities,
                                                   uint32_t number, int32_t taken);
/* The server's word on the resource; uses that wait for an answer come on top. */
TIDEGATE_API void tidegate_client_abilities_set(tidegate_client_abilities* abilities, double amount,
                                                double at_ms);
TIDEGATE_API double tidegate_client_abilities_resource(const tidegate_client_abilities* abilities,
                                                       double now_ms);
TIDEGATE_API double tidegate_client_abilities_cooldown(const tidegate_client_abilities* abilities,
                                                       uint32_t ability, double now_ms);

/* ---- what the network does ---- */

typedef struct tidegate_client_stats {
  size_t struct_size;
  double rtt_ms, rtt_last_ms, jitter_ms;
  double bytes_in_per_second, bytes_out_per_second, messages_in_per_second;
  uint64_t bytes_in, bytes_out, messages_in, messages_out;
  double delay_ms, delay_target_ms; /* interpolation */
  uint64_t starved;                 /* pictures that lacked state */
  uint64_t corrections, refused_moves;
  double prediction_error_m, smoothing_m;
  uint32_t pending_inputs;
  uint32_t entities, cells, server_tick;
  uint32_t reconnects, unacknowledged, queued_messages;
  uint64_t expired;
  uint64_t duplicates; /* acknowledged messages of the server that came again */
  uint64_t frames, keyframes, checksums, checksum_mismatches, missing_references, malformed;
  double shown_tick; /* the server's tick in the last picture: when a shot was aimed; NaN: none */
} tidegate_client_stats;
/* 0: a struct_size that is none. */
TIDEGATE_API int32_t tidegate_client_get_stats(tidegate_client* client, tidegate_client_stats* out);
/* Messages and payload bytes of one type so far, in (direction 0) or out (1). */
TIDEGATE_API void tidegate_client_traffic(const tidegate_client* client, uint32_t type,
                                          int32_t direction, uint64_t* messages, uint64_t* bytes);

/* An overlay that shows all this, as rectangles, lines and texts for whatever draws your game.
 * Levels: 0 nothing, 1 one line, 2 graphs, 3 with message types, 4 with prediction. */
typedef struct tidegate_client_overlay tidegate_client_overlay;
typedef enum tidegate_client_shape_kind {
  TIDEGATE_SHAPE_RECT = 0, /* filled, from (x0, y0) to (x1, y1) */
  TIDEGATE_SHAPE_LINE = 1,
  TIDEGATE_SHAPE_TEXT = 2 /* its upper left corner is (x0, y0) */
} tidegate_client_shape_kind;
typedef struct tidegate_client_shape {
  int32_t kind;
  float x0, y0, x1, y1; /* pixels, y down */
  uint32_t rgba;        /* red in the highest byte */
  tidegate_text text;
} tidegate_client_shape;
typedef struct tidegate_client_drawing {
  size_t struct_size;
  const tidegate_client_shape* shapes; /* valid until the next draw; in the order of drawing */
  size_t count;
  float width, height;
} tidegate_client_drawing;
/* Null: no memory. `line_height` and `char_width` are those of your font, in pixels. */
TIDEGATE_API tidegate_client_overlay* tidegate_client_overlay_create(float line_height,
                                                                     float char_width);
TIDEGATE_API void tidegate_client_overlay_destroy(tidegate_client_overlay* overlay);
/* Once a picture: notes what the client's network does. */
TIDEGATE_API void tidegate_client_overlay_sample(tidegate_client_overlay* overlay,
                                                 tidegate_client* client);
/* 0: a struct_size or a level that is none. */
TIDEGATE_API int32_t tidegate_client_overlay_draw(tidegate_client_overlay* overlay, int32_t level,
                                                  float x, float y, tidegate_client_drawing* out);

/* A bad network, made inside the client. Loss shows as stalls, as it does on TCP. */
typedef struct tidegate_client_conditions {
  size_t struct_size;
  double latency_ms; /* one way */
  double jitter_ms;  /* up to so much more */
  double loss;       /* share of sends that are lost once, 0 to 1 */
  double bandwidth;  /* bytes a second in each direction; 0: no limit */
} tidegate_client_conditions;
/* DROPPED: the library was built without the simulator. */
TIDEGATE_API tidegate_client_result
tidegate_client_simulate(tidegate_client* client, const tidegate_client_conditions* conditions);
/* "local", "fibre", "wifi", "mobile", "far", "train". 0: there is none of that name. */
TIDEGATE_API int32_t tidegate_client_conditions_named(const char* name,
                                                      tidegate_client_conditions* out);
/* The connection breaks without a word, as when a cable is pulled; it comes back by itself. */
TIDEGATE_API tidegate_client_result tidegate_client_drop_connection(tidegate_client* client);

#ifdef __cplusplus
}
#endif
