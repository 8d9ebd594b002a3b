// SPDX-License-Identifier: Apache-2.0
// Every message that crosses from one agent to another, as a plain struct. A message may carry a
// tail of bytes (a name, a token, a serialised entity) right behind the struct.
//
// The rule for a full ring stands beside each message:
//   keep    it must arrive: the sender keeps it in order in front of the ring (shard/outbox.h)
//   drop    newer data follows by itself; a counter moves
//   refuse  what it was for is answered with an error at once
//
// Thread: any. Owner: values. Limits: kTailBytesMax for the tail.
#pragma once

#include <cstdint>
#include <type_traits>

#include "base/ids.h"

namespace tidegate::mailbox {

using base::ConnectionRef;
using base::EntityId;

inline constexpr uint32_t kTailBytesMax = 16 * 1024;  // a token of 8 KiB and claims fit well

enum class MessageType : uint16_t {
  kPadding = 0,  // reserved by the ring
  kSimulationDone,
  kFrameDone,
  kPublication,
  kSubscribe,
  kInput,
  kMoved,
  kTransfer,
  kTransferNotice,
  kLogin,
  kLogout,
  kSpawn,
  kSpawnFailed,
  kWorldFull,
  kDetach,
  kReplaced,
  kGone,
  kAuthRequest,
  kAuthResult,
  kListConnections,
  kConnectionRow,
  kListEnd,
  kCloseConnection,
  kDrain,
  kSnapshotAt,
  kSnapshotPiece,
  kSnapshotEnd,
  kListHistory,
  kHistoryAnswer,
  kCellReported,
  kCellDisputed,
  kCellDump,
  kSendToPlayer,
  kDeliver,
  kDeliverNear,
  kMarkState,
  kEnvironment,
  kSessionOpen,
  kSessionOpened,
  kSessionRelease,
  kSessionClosed,
  kSessionLeft,
  kSessionProgress,
  kSessionSend,
  kSessionDeliver,
  kSessionSaved,
  kSessionRecord,
  kSessionsStored,
  kListSessions,
  kSessionRow,
  kKick,
  kKicked,
  kSettings,
  kCount,
};

// Name for metrics and logs, "?" when unknown.
const char* name_of(MessageType type);

// Barrier, phase 1: the sender has simulated `tick`; its transfers and moves are posted. Keep.
struct SimulationDone {
  static constexpr MessageType kType = MessageType::kSimulationDone;
  uint32_t tick;
  uint32_t unused = 0;
  int64_t started_ns;  // when the sender began the tick; all agree on the next due time from these
};

// Barrier, phase 2: the sender's publications for `tick` are posted. Keep.
struct FrameDone {
  static constexpr MessageType kType = MessageType::kFrameDone;
  uint32_t tick;
};

// One cell's chunks of this tick, for a shard with watchers. The tail is a world::Publication; the
// bytes it points at live until the receiver has posted its next SimulationDone. Keep.
struct PublicationPosted {
  static constexpr MessageType kType = MessageType::kPublication;
  uint32_t tick;
  uint32_t unused = 0;
};

// Interest of the sending shard in a cell of the receiver. Keep.
struct SubscribeCell {
  static constexpr MessageType kType = MessageType::kSubscribe;
  int16_t cell_x;
  int16_t cell_z;
  uint8_t packed_levels;  // bit: the sender has watchers of that level with this encoding
  uint8_t protobuf_levels;
  uint8_t requests;  // world::Request bits, answered in this tick's publication
  uint8_t unused = 0;
};

// A player's input on its way to the shard that owns the entity. Drop (the client sends on).
// The tail is a world::Input.
struct InputPosted {
  static constexpr MessageType kType = MessageType::kInput;
  EntityId entity;
  uint32_t hops;  // forwarded so many times after hand-overs
};

// What became of inputs, and where the entity lives: owner to the connection's shard. The tail is
// a world::MoveResult. Keep.
struct Moved {
  static constexpr MessageType kType = MessageType::kMoved;
  ConnectionRef connection;
};

// An entity changes its owner. The tail is world's own serialisation. Refuse (the crossing waits a
// tick).
struct Transfer {
  static constexpr MessageType kType = MessageType::kTransfer;
  uint32_t tick;
};

// New owner to the home shard of the player: where the entity lives now. The tail is the player
// id. Keep.
struct TransferNotice {
  static constexpr MessageType kType = MessageType::kTransferNotice;
  EntityId entity;
};

// A player came in: the connection's shard to the player's home shard. Tail: player id. Keep.
struct Login {
  static constexpr MessageType kType = MessageType::kLogin;
  ConnectionRef connection;
};

// The connection is gone. Connection's shard to the home shard. Tail: player id. Keep.
struct Logout {
  static constexpr MessageType kType = MessageType::kLogout;
  ConnectionRef connection;
};

// Home shard to the owner of the place: make the entity, or give the one that is there a new
// connection. Tail: player id. Keep.
struct Spawn {
  static constexpr MessageType kType = MessageType::kSpawn;
  EntityId entity;
  ConnectionRef connection;
  uint16_t connection_shard;
  uint8_t attach;       // 1: the entity should be there; answer SpawnFailed when it is not
  uint8_t yaw;          // 256 steps about y
  int32_t position[3];  // steps
};

// Owner to the home shard: an entity to attach to was gone, or there is no room. Tail: player id.
struct SpawnFailed {
  static constexpr MessageType kType = MessageType::kSpawnFailed;
  EntityId entity;
  ConnectionRef connection;
  uint16_t connection_shard;
  uint16_t full;  // 1: the entity limit is reached, do not try again
};

// Home shard to the connection's shard: no room for the player; close 1013. Keep.
struct WorldFull {
  static constexpr MessageType kType = MessageType::kWorldFull;
  ConnectionRef connection;
};

// Connection's shard to the owner: the connection is lost, the entity lingers. Keep.
struct Detach {
  static constexpr MessageType kType = MessageType::kDetach;
  EntityId entity;
  ConnectionRef connection;
  uint16_t connection_shard;
  uint16_t hops;
};

// Home shard to the old connection's shard: the same player came in elsewhere (4015). Keep.
struct Replaced {
  static constexpr MessageType kType = MessageType::kReplaced;
  ConnectionRef connection;
};

// Owner to the home shard: the entity left the world, here it stood. Tail: player id. Keep.
struct Gone {
  static constexpr MessageType kType = MessageType::kGone;
  EntityId entity;
  int32_t position[3];
  uint32_t yaw;
};

// Shard to control: check this token. Tail: the token, then the resume token when there is one.
// Keep (503 overloaded while much is kept).
struct AuthRequest {
  static constexpr MessageType kType = MessageType::kAuthRequest;
  ConnectionRef connection;
  int64_t asked_ns;
  uint32_t resume_bytes;
  uint32_t unused = 0;
};

// What control found a resume token to be.
enum class TokenVerdict : uint8_t { kNone, kGood, kBad, kExpired };

// Control to the shard. Tail: an AuthAnswer record (see auth_answer.h). Keep.
struct AuthResult {
  static constexpr MessageType kType = MessageType::kAuthResult;
  ConnectionRef connection;
  int64_t asked_ns;
  int64_t expires_at;     // Unix seconds, 0 when the token has no expiry
  uint16_t http_status;   // 0 when accepted
  uint16_t user_bytes;    // the tail: user id, player id, permissions (space separated) when
  uint16_t player_bytes;  // accepted; error code, message, nothing when refused
  uint16_t rest_bytes;
  // When accepted: what SessionOpen says, and behind the tail's other parts its two resume tokens.
  uint64_t session;  // 0: the shard gives the id, and no resume token
  uint64_t resume_session;
  uint32_t nonce;
  uint32_t resume_nonce;
  TokenVerdict resume;
  uint8_t token_bytes[2];
  uint8_t unused = 0;
};

// Admin: rows of the connection table from `offset`. Control to shard. Keep.
struct ListConnections {
  static constexpr MessageType kType = MessageType::kListConnections;
  uint32_t request;
  uint32_t offset;
  uint32_t limit;
};

// One row. Tail: user id, player id. Shard to control. Keep.
struct ConnectionRow {
  static constexpr MessageType kType = MessageType::kConnectionRow;
  uint32_t request;
  ConnectionRef connection;
  EntityId entity;
  uint64_t session;
  uint64_t bytes_in, bytes_out;
  uint32_t messages_in, messages_out;
  uint32_t rtt_us;
  uint32_t age_ms;
  uint32_t backlog_bytes;
  uint8_t peer[16];
  uint16_t peer_port;
  uint8_t state;
  uint8_t encoding;
  uint16_t user_bytes, player_bytes;
};

struct ListEnd {
  static constexpr MessageType kType = MessageType::kListEnd;
  uint32_t request;
  uint32_t total;  // connections on this shard
};

// Control (a kick) or an entity's owner to a connection's shard: close it with this code. Keep.
struct CloseConnection {
  static constexpr MessageType kType = MessageType::kCloseConnection;
  ConnectionRef connection;
  uint16_t code;
  uint16_t error = 0;  // not 0: an ERROR of this code goes first
};

// Control to every shard: refuse new connections; from `close_from` on tell the clients one after
// the other and close them, evenly over `spread`, all of them at the deadline. A second one takes
// the place of the first. Tail: reconnect_url for the clients, may be empty. Keep.
struct Drain {
  static constexpr MessageType kType = MessageType::kDrain;
  int64_t close_from_ns;
  int64_t spread_ns;
  int64_t deadline_ns;
  uint32_t retry_after_ms;  // clients are told a random time up to this one
  uint32_t stop_accepting;  // 1: close the listener instead of answering 503
};

// Admin: close connections of a user, of a player, or of one session. Control to every shard. Tail:
// user id, player id, reason. Keep.
struct Kick {
  static constexpr MessageType kType = MessageType::kKick;
  uint32_t request;
  uint32_t unused = 0;
  uint64_t session;  // 0: not asked for
  uint16_t code;     // of DISCONNECT; the close code is 1008
  uint16_t user_bytes;
  uint16_t player_bytes;
  uint16_t reason_bytes;
};

// How many that were. Shard to control. Keep.
struct Kicked {
  static constexpr MessageType kType = MessageType::kKicked;
  uint32_t request;
  uint32_t closed;
};

// Control to every shard: limits from now on, after the configuration was read again. Tail: a
// shard::LiveSettings. Keep.
struct SettingsSet {
  static constexpr MessageType kType = MessageType::kSettings;
  uint32_t unused = 0;
};

// Control to every shard: cut a snapshot of the world at the boundary of `tick`, which lies a
// little ahead, so that all shards cut at the same one. Refuse (the next interval asks again).
struct SnapshotAt {
  static constexpr MessageType kType = MessageType::kSnapshotAt;
  uint32_t tick;
};

// Some records of that cut (snapshot_record.h), at most one piece a turn. Shard to control. When
// the ring is full the piece is sent in a later turn.
struct SnapshotPiece {
  static constexpr MessageType kType = MessageType::kSnapshotPiece;
  uint32_t tick;
  uint32_t records;
};

// All pieces of that cut were sent. Shard to control, behind its pieces.
struct SnapshotEnd {
  static constexpr MessageType kType = MessageType::kSnapshotEnd;
  uint32_t tick;
  uint32_t records;
  uint32_t missed;  // 1: the request came after the tick; there are no pieces
};

// Admin: the past of an entity. Control to every shard. Tail: a player id, or nothing when `entity`
// says which. Keep.
struct ListHistory {
  static constexpr MessageType kType = MessageType::kListHistory;
  uint32_t request;
  EntityId entity;
};

// Shard to control. Tail: `samples` world::HistorySample, then the player id. Keep.
struct HistoryAnswer {
  static constexpr MessageType kType = MessageType::kHistoryAnswer;
  uint32_t request;
  EntityId entity;  // none: it is not here
  uint32_t newest_tick;
  uint16_t samples;
  uint16_t name_bytes;
};

// A client's checksum of a cell, to the cell's owner. Tail: the client's rows (wire::CellRow), when
// it sent them. Refuse: the client reports again.
struct CellReported {
  static constexpr MessageType kType = MessageType::kCellReported;
  ConnectionRef connection;
  int16_t cell_x;
  int16_t cell_z;
  uint32_t frame;
  uint32_t tick;
  uint64_t checksum;
  uint64_t expected;
};

// The checksum was wrong: the connection's shard sends the cell anew. Owner to reporter. Refuse.
struct CellDisputed {
  static constexpr MessageType kType = MessageType::kCellDisputed;
  ConnectionRef connection;
  int16_t cell_x;
  int16_t cell_z;
};

// Both sides of it, to control, at most once a second and shard. Tail: `server_rows` rows of the
// owner, then the client's. Refuse.
struct CellDump {
  static constexpr MessageType kType = MessageType::kCellDump;
  ConnectionRef connection;
  uint16_t connection_shard;
  uint16_t server_rows;
  uint16_t server_rows_in_past;  // of them, as of `tick`
  uint16_t client_rows;
  int16_t cell_x;
  int16_t cell_z;
  uint32_t frame;
  uint32_t tick;
  uint32_t tick_now;
  uint64_t checksum;
  uint64_t expected;
};

// A handler's message for a player: any shard to the player's home shard, which knows where the
// connection is. Tail: player id, payload. Drop (not acknowledged; a counter moves).
struct SendToPlayer {
  static constexpr MessageType kType = MessageType::kSendToPlayer;
  uint32_t message_type;
  uint32_t name_bytes;
};

// The same on its last leg: home shard to the connection's shard. Tail: payload. Drop.
struct Deliver {
  static constexpr MessageType kType = MessageType::kDeliver;
  ConnectionRef connection;
  uint32_t message_type;
};

// A handler's message for all players near a place, to every shard. Tail: payload. Drop.
struct DeliverNear {
  static constexpr MessageType kType = MessageType::kDeliverNear;
  ConnectionRef except;   // not to this connection ...
  uint32_t except_shard;  // ... of this shard
  uint32_t message_type;
  int32_t x, z;     // steps
  uint32_t radius;  // steps
};

// A handler asks that an entity's custom state is written anew: connection's shard to the owner.
// Keep.
struct MarkState {
  static constexpr MessageType kType = MessageType::kMarkState;
  EntityId entity;
  uint32_t hops;
};

// Control to every shard: the zone's environment from now on. Tail: an encoded EnvironmentState.
// Keep (by control, in order).
struct EnvironmentSet {
  static constexpr MessageType kType = MessageType::kEnvironment;
  uint32_t unused = 0;
};

template <class M>
concept Message = std::is_trivially_copyable_v<M> && requires { M::kType; };

}  // namespace tidegate::mailbox
