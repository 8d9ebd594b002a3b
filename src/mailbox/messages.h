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

inline constexpr uint32_t kTailBytesMax =
    16 * 1024;  // a token of 8 KiB and claims fit well; else it is said

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
  kStateSet,
  kStateAsked,
  kStateAnswered,
  kStateShown,
  kStateTold,
  kTopicJoin,
  kTopicJoined,
  kTopicLeave,
  kTopicPublish,
  kTopicPublished,
  kTopicEvent,
  kTopicPull,
  kTopicPiece,
  kListTopics,
  kTopicRow,
  kTopicListEnd,
  kTopicsParked,
  kTopicsResumed,
  kTopicsRestored,
  kPresenceCome,
  kPresenceGo,
  kPresenceSet,
  kPresenceChanged,
  kPresenceWatch,
  kPresenceState,
  kSendToUser,
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
  kSessionClaimed,
  kSessionTaken,
  kSessionLetter,
  kListSessions,
  kSessionRow,
  kKick,
  kKicked,
  kSettings,
  kPollLetter,
  kMoveCells,
  kCellMoved,
  kMovesTaken,
  kShardLoad,
  kGroupAsk,
  kSocialAnswer,
  kGroupMembership,
  kUserAsk,
  kUserEntries,
  kSocialSet,
  kDeliverGroup,
  kFocusMoves,
  kUserRecord,
  kUserQuestion,
  kUserFact,
  kBusMail,
  kBusView,
  kRealmOrder,
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
  uint32_t cells_moved = 0;  // by the sender in this tick: CellMoved of each is posted
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

// A request of HTTP long polling on its way to the shard of its session, or the answer on its way
// back: a net::PollLetter. The tail is a body of up to 63 KiB. Refuse: a request is answered with
// 503, an answer waits.
struct PollPosted {
  static constexpr MessageType kType = MessageType::kPollLetter;
  uint8_t letter[48];
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
  int64_t since_ms = 0;  // of the connection, Unix
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
  uint8_t passed_on;    // 1: by a shard that the place belonged to; the home does not know it yet
  uint8_t placed;       // 1: with attach, it is to stand at `position` with what follows
  int16_t velocity[3];  // wire/quantise.h
  uint32_t flags;
  uint32_t stamp;  // of the owner among gateways (realm/batch.h), 0 with one gateway
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
  // By a connection of another gateway: since when that one is, and which gateway it is. The home
  // shard here still has the old one as the player's. 0: of this gateway.
  int64_t far_since_ms = 0;
  uint64_t far_gateway = 0;
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
  uint32_t refresh = 0;  // 1: of a connection that is open; the answer says so and has no tokens
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
  uint8_t refresh = 0;  // as in the request
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
  uint32_t rtt_jitter_us;
  uint32_t age_ms;
  uint32_t backlog_bytes;
  uint32_t backlog_age_s;  // since a byte of it was taken
  uint8_t peer[16];
  uint16_t peer_port;
  uint8_t state;
  uint8_t encoding;
  uint8_t transport;  // bits: 1 long polling, 2 TLS, 4 permessage-deflate, 8 JSON-RPC
  uint8_t unused[3];
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
  uint64_t source = 0;  // hash of the user it comes from (session::hash_name); 0: the server
};

// The same on its last leg: home shard to the connection's shard. Tail: payload. Drop.
struct Deliver {
  static constexpr MessageType kType = MessageType::kDeliver;
  ConnectionRef connection;
  uint32_t message_type;
  uint32_t unused = 0;
  uint64_t source = 0;  // as in SendToPlayer
};

// Whom a DeliverNear means on the shard that gets it.
enum class NearShape : uint32_t {
  kCircle,    // players within `radius` of the place
  kCell,      // players in the cell of the place
  kInWorld,   // all players
  kEveryone,  // every session, in the world or not
};

// A message of the game for many players, to every shard. Tail: payload. Drop.
struct DeliverNear {
  static constexpr MessageType kType = MessageType::kDeliverNear;
  ConnectionRef except;   // not to this connection ...
  uint32_t except_shard;  // ... of this shard
  uint32_t message_type;
  int32_t x, z;     // steps
  uint32_t radius;  // steps
  NearShape shape = NearShape::kCircle;
  uint64_t source = 0;  // as in SendToPlayer
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

// --- topics: the shards of the subscribers and of the publisher, and the topic's home shard ---

// This shard has subscribers of the topic. To its home. Tail: name. Keep; SUBSCRIBEs are refused
// while much is kept.
struct TopicJoin {
  static constexpr MessageType kType = MessageType::kTopicJoin;
  uint32_t unused = 0;
};

// From here on the topic's messages come. From its home. Tail: name. Keep.
struct TopicJoined {
  static constexpr MessageType kType = MessageType::kTopicJoined;
  uint64_t next_offset;
  uint32_t code;  // 0, or an error: there is no room for the topic
};

// The shard has no subscribers any more. To the topic's home. Tail: name. Keep.
struct TopicLeave {
  static constexpr MessageType kType = MessageType::kTopicLeave;
  uint32_t unused = 0;
};

enum TopicFlag : uint16_t {
  kTopicAckAsked = 1,    // the PUBLISH asked for acknowledgement: so do its EVENTs
  kTopicGroupEvent = 2,  // the frame is a GROUP_EVENT, not an EVENT
};
inline constexpr uint32_t kTopicPriorityShift = 8;  // 0 to 10 in four of the flags' bits

// To the topic's home. Tail: topic, user, data. Keep; PUBLISHes are refused while much is kept.
struct TopicPublish {
  static constexpr MessageType kType = MessageType::kTopicPublish;
  ConnectionRef connection;  // that wants to know; invalid: nobody
  uint64_t sequence;         // of the PUBLISH
  uint32_t event_type;
  uint16_t flags;
  uint16_t topic_bytes, user_bytes;
  uint16_t unused = 0;
};

// What became of it. Home to the publisher's shard. Keep.
struct TopicPublished {
  static constexpr MessageType kType = MessageType::kTopicPublished;
  ConnectionRef connection;
  uint64_t sequence;
  uint64_t offset;
  uint32_t code;  // 0, or an error
};

// One message of a topic, encoded once: home to every shard with subscribers. Tail: topic, then the
// EVENT as one WebSocket message. Keep (bounded: the home refuses to publish while much is kept).
struct TopicEvent {
  static constexpr MessageType kType = MessageType::kTopicEvent;
  uint64_t offset;
  uint32_t note;  // payload_at << 16 | flags, see shard/topics.h
  uint32_t topic_bytes;
};

// A subscription wants the history from an offset on. To the topic's home. Tail: name. Keep (each
// shard has few of them under way).
struct TopicPull {
  static constexpr MessageType kType = MessageType::kTopicPull;
  uint32_t subscription, generation;
  uint64_t from;
};

// Tail: for each message a TopicRecord and its frame. Home to the shard that asked. Keep.
struct TopicPiece {
  static constexpr MessageType kType = MessageType::kTopicPiece;
  uint32_t subscription, generation;
  uint64_t next;  // offset behind the last message
  uint32_t done;  // 1: this is all there is; what is new comes from here on
  uint32_t unused = 0;
};
struct TopicRecord {
  uint64_t offset;
  uint32_t bytes;
  uint32_t note;
};

// What a session subscribed to when its connection ended: the connection's shard to the player's
// home, in front of SessionLeft. Tail: for each subscription a ParkedTopic and the name. Keep.
struct TopicsParked {
  static constexpr MessageType kType = MessageType::kTopicsParked;
  uint64_t session;
};
struct ParkedTopic {
  uint64_t next;  // offset to go on from
  uint16_t name_bytes;
  uint16_t acknowledged;  // 1: the topic's messages are acknowledged ones
  uint32_t unused = 0;
};

// The session has a connection again: to the player's home. Tail: player id. Keep.
struct TopicsResumed {
  static constexpr MessageType kType = MessageType::kTopicsResumed;
  ConnectionRef connection;
  uint64_t session;
};

// What it had parked; no answer when that was nothing. Home to the connection's shard. Tail: as in
// TopicsParked. Keep.
struct TopicsRestored {
  static constexpr MessageType kType = MessageType::kTopicsRestored;
  ConnectionRef connection;
  uint64_t session;
};

// Admin: topics in the rows offset..offset+limit of the shard's tables. Control to shard. Keep.
struct ListTopics {
  static constexpr MessageType kType = MessageType::kListTopics;
  uint32_t request;
  uint32_t offset;
  uint32_t limit;
};

// One topic as its home or a shard with subscribers sees it. Tail: name. Shard to control. Keep.
struct TopicRow {
  static constexpr MessageType kType = MessageType::kTopicRow;
  uint32_t request;
  uint32_t subscribers;  // on this shard
  uint64_t next_offset;  // 0: the sender is not its home
  uint32_t history_messages, history_bytes;
};

struct TopicListEnd {
  static constexpr MessageType kType = MessageType::kTopicListEnd;
  uint32_t request;
  uint32_t total;  // topics whose home this shard is
  uint32_t more;   // 1: there are rows behind these
};

// --- presence: shards of connections, and the home shard of the user ---

// A connection of the user has a session. To its home. Tail: user id. Keep.
struct PresenceCome {
  static constexpr MessageType kType = MessageType::kPresenceCome;
  ConnectionRef connection;
  int64_t unix_ms;
};

// It ended. To the user's home. Tail: user id. Keep.
struct PresenceGo {
  static constexpr MessageType kType = MessageType::kPresenceGo;
  ConnectionRef connection;
  int64_t unix_ms;
};

// What a connection says of its user. To the home. Tail: user id, text. Keep; refused while much is
// kept.
struct PresenceSet {
  static constexpr MessageType kType = MessageType::kPresenceSet;
  ConnectionRef connection;
  int64_t unix_ms;
  uint8_t status;    // PlayerStatus; 0: stays
  uint8_t has_text;  // 1: the text is the custom status from now on
  uint16_t user_bytes;
  uint32_t unused = 0;
};

// It was taken. Home to the connection's shard. Keep.
struct PresenceChanged {
  static constexpr MessageType kType = MessageType::kPresenceChanged;
  ConnectionRef connection;
  uint8_t old_status, new_status;
};

// The shard has watchers of the user, or none any more. To the user's home. Tail: user id. Keep.
struct PresenceWatch {
  static constexpr MessageType kType = MessageType::kPresenceWatch;
  uint32_t on;
};

// What is shown of a user, and to whom. Home to a shard with watchers. Tail: user id, text, then
// `audience` hashes of users. Keep (at most once a second for each user and shard).
struct PresenceState {
  static constexpr MessageType kType = MessageType::kPresenceState;
  int64_t last_seen;
  uint16_t user_bytes;
  uint8_t status;
  uint8_t restricted;  // 0: to all; 1: to all but the audience; 2: to the audience alone
  uint16_t text_bytes;
  uint16_t audience;
};

// A message for all connections of a user: any shard to the user's home, which sends a Deliver to
// each. Tail: user id, payload. Drop (not acknowledged; a counter moves).
struct SendToUser {
  static constexpr MessageType kType = MessageType::kSendToUser;
  uint32_t message_type;
  uint32_t user_bytes;
  uint64_t source = 0;  // as in SendToPlayer
};

template <class M>
concept Message = std::is_trivially_copyable_v<M> && requires { M::kType; };

}  // namespace tidegate::mailbox
