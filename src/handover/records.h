// SPDX-License-Identifier: Apache-2.0
// What one process hands to the next in an upgrade (docs/decisions/0015-upgrade.md): one struct for
// each kind of record, in words of this table and not of the modules, so that those may change.
// Times are instants of CLOCK_MONOTONIC in nanoseconds, which both processes share, unless a name
// says otherwise. Slots, generations, shards and entity ids are the same on both sides.
//
// New fields go to the end of fields(); their default is what an older process meant. kVersion
// rises when that is not enough.
//
// Thread: any. Owner: values; texts and bytes are borrowed. Limits: archive.h.
#pragma once

#include "handover/archive.h"

namespace tidegate::handover {

inline constexpr uint32_t kVersion = 1;

// What a new process says with kReady that it takes; older ones say nothing. u32.
inline constexpr uint32_t kTakesTls = 1;

enum class RecordType : uint16_t {
  kHello = 1,
  kShard = 2,
  kConnection = 3,
  kPlayer = 4,
  kEntity = 5,
  kInput = 6,
  kHome = 7,
  kSession = 8,
  kMessage = 9,
  kTopic = 10,
  kTopicMessage = 11,
  kSubscription = 12,
  kParked = 13,
  kUser = 14,
  kWatch = 15,
  kRevocation = 16,
  kProcess = 17,
  kSteer = 18,
  kUserEntry = 19,
  kGroup = 20,
  kGroupMember = 21,
  kTls = 22,
};

// The first word of the old process. Descriptors of the listeners come with it: for each shard the
// WebSocket one, then the TLS one when there is one.
struct Hello {
  static constexpr RecordType kType = RecordType::kHello;
  uint32_t version = kVersion;
  uint32_t shards = 0;
  uint32_t tick_rate = 0;
  float cell_size = 0;
  float position_step = 0;
  uint32_t websocket_port = 0;
  uint32_t tls_port = 0;    // 0: none
  uint32_t admin_port = 0;  // 0: none
  std::string_view server_version;
  std::string_view session_secret;  // of resume tokens
  template <class A, class R>
  static void fields(A& a, R& r) {
    a(r.version, r.shards, r.tick_rate, r.cell_size, r.position_step, r.websocket_port, r.tls_port,
      r.admin_port, r.server_version, r.session_secret);
  }
};

// What is one for the process and not of a shard.
struct Process {
  static constexpr RecordType kType = RecordType::kProcess;
  std::string_view jwks;    // last good key set of auth.jwks_url
  int64_t stopped_ns = 0;   // the old one ended its last tick
  uint64_t closed[8] = {};  // connections that could not come: CannotMove
  template <class A, class R>
  static void fields(A& a, R& r) {
    a(r.jwks, r.stopped_ns, r.closed);
  }
};

// Why a connection was closed instead of handed over; label of
// tidegate_upgrade_connections_closed_total.
enum class CannotMove : uint8_t {
  kTls,          // in the middle of its handshake, or the new process cannot; 1012 where it is open
  kCompression,  // a window of earlier messages, in zlib's own form; close 1012
  kLogin,        // its token is still being checked; 503
  kClosing,      // it was ending anyway
  kPolling,      // long polling: an answer is owed to a request; close 1012
  kCount,
};
const char* name_of(CannotMove why);

struct Revocation {
  static constexpr RecordType kType = RecordType::kRevocation;
  std::string_view user;
  int64_t at_s = 0;  // Unix
  int64_t until_s = 0;
  template <class A, class R>
  static void fields(A& a, R& r) {
    a(r.user, r.at_s, r.until_s);
  }
};

struct Shard {
  static constexpr RecordType kType = RecordType::kShard;
  uint32_t index = 0;
  uint32_t tick = 0;  // that is due next
  int64_t due_ns = 0;
  uint32_t entity_counter = 0;
  base::Bytes environment;
  template <class A, class R>
  static void fields(A& a, R& r) {
    a(r.index, r.tick, r.due_ns, r.entity_counter, r.environment);
  }
};

// A socket with everything that net knows of it. Its descriptor stands at the same place in the
// shard's list of descriptors.
struct Connection {
  static constexpr RecordType kType = RecordType::kConnection;
  uint32_t slot = 0;
  uint32_t generation = 0;
  uint8_t open = 0;          // 0: its upgrade request is not whole
  uint8_t subprotocol = 0;   // index in the server's list, 0xff: none named
  uint8_t pinged = 0;        // a heartbeat ping waits for its pong
  uint8_t edge = 0;          // net::EdgeFlag bits
  uint8_t receiver[4] = {};  // protocol::WsReceiver::Saved
  uint32_t receiver_bytes = 0;
  uint32_t received_ms = 0;  // of the monotonic clock, modulo 2^32, as are the times below
  uint32_t accepted_ms = 0;
  uint32_t rtt_us = 0;
  uint64_t bytes_in = 0, bytes_out = 0;
  uint32_t messages_in = 0, messages_out = 0;
  uint8_t peer[16] = {};
  uint16_t peer_port = 0;
  uint16_t burst_kib = 0;
  uint16_t input_since_s = 0, message_since_s = 0, backlog_since_s = 0;
  uint8_t deflate = 0;  // 1: permessage-deflate is spoken, with:
  uint8_t deflate_server_bits = 0, deflate_client_bits = 0;
  base::Bytes input;    // received and not parsed: an incomplete head or frame
  base::Bytes message;  // fragments of a message so far
  base::Bytes backlog;  // what the socket did not take
  template <class A, class R>
  static void fields(A& a, R& r) {
    a(r.slot, r.generation, r.open, r.subprotocol, r.pinged, r.edge, r.receiver, r.receiver_bytes,
      r.received_ms, r.accepted_ms, r.rtt_us, r.bytes_in, r.bytes_out, r.messages_in,
      r.messages_out, r.peer, r.peer_port, r.burst_kib, r.input_since_s, r.message_since_s,
      r.backlog_since_s, r.deflate, r.deflate_server_bits, r.deflate_client_bits, r.input,
      r.message, r.backlog);
  }
};

// Of the connection before it: TLS. Given only to a process that says kTakesTls, as another one
// would take the connection for a plain one.
struct Tls {
  static constexpr RecordType kType = RecordType::kTls;
  uint32_t slot = 0;
  uint8_t established = 0;  // 0: no message of the handshake was looked at
  uint8_t tls13 = 0;
  uint8_t key_update_owed = 0;
  uint16_t suite = 0;  // tls::Traffic, as the fields below
  base::Bytes in_secret, out_secret;
  uint64_t in_number = 0, out_number = 0, explicit_nonce = 0;
  uint16_t input_since_s = 0;
  base::Bytes input;  // received: an incomplete record, or one that waits for its turn
  template <class A, class R>
  static void fields(A& a, R& r) {
    a(r.slot, r.established, r.tls13, r.key_update_owed, r.suite, r.in_secret, r.out_secret,
      r.in_number, r.out_number, r.explicit_nonce, r.input_since_s, r.input);
  }
};

// A logged-in connection beyond its socket.
struct Player {
  static constexpr RecordType kType = RecordType::kPlayer;
  uint32_t slot = 0;
  uint64_t session = 0;
  int64_t expires_at = 0;  // Unix seconds, 0: never
  std::string_view user, player, permissions;
  uint32_t entity = UINT32_MAX;
  uint16_t owner = 0;
  uint8_t state = 0;   // session::State
  uint16_t flags = 0;  // shard::PlayerFlag bits of kCarriedFlags
  float view_distance = 0;
  uint32_t budget = 0;
  int32_t position[3] = {};
  uint32_t client_tick = 0;
  uint64_t received = 0, safe = 0, sent = 0, acked = 0;
  uint32_t replay_left = 0;
  int64_t hello_due_ns = 0;    // 0: CLIENT_HELLO came or its time is over
  uint8_t watching = 0;        // 1: state flows
  std::vector<int16_t> cells;  // x, z of each cell that the client has
  uint8_t presence = 0;        // 1: its home knows of the connection
  uint8_t packing = 0;         // form of payloads to it; 0: as they are
  uint32_t dictionary = 0;     // that the form refers to
  template <class A, class R>
  static void fields(A& a, R& r) {
    a(r.slot, r.session, r.expires_at, r.user, r.player, r.permissions, r.entity, r.owner, r.state,
      r.flags, r.view_distance, r.budget, r.position, r.client_tick, r.received, r.safe, r.sent,
      r.acked, r.replay_left, r.hello_due_ns, r.watching, r.cells, r.presence, r.packing,
      r.dictionary);
  }
};

// Samples of PLAYER_STEER that wait for their ticks, in order: of a player's connection. With what
// its buffer knows, shard::SteerBuffer::Saved.
struct Steer {
  static constexpr RecordType kType = RecordType::kSteer;
  uint32_t slot = 0;
  std::vector<uint32_t> client_ticks;
  std::vector<int8_t> directions;  // three each
  std::vector<uint8_t> yaws;
  std::vector<uint32_t> flags;
  uint8_t known = 0;  // 0: the rest is not
  uint8_t streaming = 0;
  uint32_t last_tick = 0;
  uint16_t credit = 0;
  uint8_t delay = 0, hold = 0, wanted = 0;
  template <class A, class R>
  static void fields(A& a, R& r) {
    a(r.slot, r.client_ticks, r.directions, r.yaws, r.flags, r.known, r.streaming, r.last_tick,
      r.credit, r.delay, r.hold, r.wanted);
  }
};

struct Entity {
  static constexpr RecordType kType = RecordType::kEntity;
  uint32_t id = 0;
  uint8_t kind = 0;
  std::string_view name;
  int32_t position[3] = {};
  int16_t velocity[3] = {};
  uint8_t yaw = 0;
  uint32_t flags = 0;
  uint64_t tag = 0;
  uint32_t connection_slot = UINT32_MAX;
  uint32_t connection_generation = 0;
  uint16_t connection_shard = UINT16_MAX;
  uint32_t client_tick = 0;
  uint32_t budget = 0;
  uint32_t budget_tick = 0;
  uint32_t linger_deadline = 0;
  uint32_t violations = 0;
  template <class A, class R>
  static void fields(A& a, R& r) {
    a(r.id, r.kind, r.name, r.position, r.velocity, r.yaw, r.flags, r.tag, r.connection_slot,
      r.connection_generation, r.connection_shard, r.client_tick, r.budget, r.budget_tick,
      r.linger_deadline, r.violations);
  }
};

// A move that came in after the last tick of the old process.
struct Input {
  static constexpr RecordType kType = RecordType::kInput;
  uint32_t entity = 0;
  int32_t position[3] = {};
  uint32_t client_tick = 0;
  uint32_t flags = 0;
  int16_t velocity[3] = {};
  uint8_t yaw = 0;
  uint8_t has = 0;
  template <class A, class R>
  static void fields(A& a, R& r) {
    a(r.entity, r.position, r.client_tick, r.flags, r.velocity, r.yaw, r.has);
  }
};

// A player in the directory of its home shard.
struct Home {
  static constexpr RecordType kType = RecordType::kHome;
  std::string_view name;
  uint32_t entity = UINT32_MAX;
  uint32_t connection_slot = UINT32_MAX;
  uint32_t connection_generation = 0;
  uint16_t connection_shard = UINT16_MAX;
  uint16_t entity_shard = UINT16_MAX;
  int32_t position[3] = {};
  uint32_t last_seen_tick = 0;
  uint8_t has_position = 0;
  uint8_t yaw = 0;
  uint16_t user = 0;
  template <class A, class R>
  static void fields(A& a, R& r) {
    a(r.name, r.entity, r.connection_slot, r.connection_generation, r.connection_shard,
      r.entity_shard, r.position, r.last_seen_tick, r.has_position, r.yaw, r.user);
  }
};

// A session at its home shard; its messages follow it.
struct Session {
  static constexpr RecordType kType = RecordType::kSession;
  uint64_t id = 0;
  std::string_view player;
  uint32_t connection_slot = UINT32_MAX;
  uint32_t connection_generation = 0;
  uint16_t connection_shard = UINT16_MAX;
  uint32_t nonce = 0, nonce_before = 0;
  uint32_t created_s = 0, seen_s = 0, resumed = 0;
  uint8_t restored = 0, from_store = 0;
  uint64_t received = 0, received_safe = 0, safe = 0;
  uint64_t acked = 0;
  uint32_t sent = 0;  // of the messages, on the present connection
  template <class A, class R>
  static void fields(A& a, R& r) {
    a(r.id, r.player, r.connection_slot, r.connection_generation, r.connection_shard, r.nonce,
      r.nonce_before, r.created_s, r.seen_s, r.resumed, r.restored, r.from_store, r.received,
      r.received_safe, r.safe, r.acked, r.sent);
  }
};

// Not acknowledged yet; of the session before it, in order.
struct Message {
  static constexpr RecordType kType = RecordType::kMessage;
  uint32_t type = 0;
  base::Bytes payload;
  template <class A, class R>
  static void fields(A& a, R& r) {
    a(r.type, r.payload);
  }
};

// A topic at its home shard; its history follows it.
struct Topic {
  static constexpr RecordType kType = RecordType::kTopic;
  std::string_view name;
  uint64_t first_offset = 1;  // of the history, or the next one
  template <class A, class R>
  static void fields(A& a, R& r) {
    a(r.name, r.first_offset);
  }
};

struct TopicMessage {
  static constexpr RecordType kType = RecordType::kTopicMessage;
  uint32_t note = 0;
  uint32_t time_s = 0;  // of the monotonic clock
  base::Bytes frame;
  template <class A, class R>
  static void fields(A& a, R& r) {
    a(r.note, r.time_s, r.frame);
  }
};

// Of a connection, on its shard.
struct Subscription {
  static constexpr RecordType kType = RecordType::kSubscription;
  uint32_t slot = 0;
  std::string_view topic;
  uint64_t next = 0;         // offset to go on from
  uint64_t topic_next = 0;   // behind the last message that came to the shard
  uint8_t acknowledged = 0;  // 1: the topic's messages are acknowledged ones
  uint8_t live = 0;          // 0: it is given history first
  template <class A, class R>
  static void fields(A& a, R& r) {
    a(r.slot, r.topic, r.next, r.topic_next, r.acknowledged, r.live);
  }
};

// Subscriptions of a session without connection, as mailbox::ParkedTopic rows.
struct Parked {
  static constexpr RecordType kType = RecordType::kParked;
  uint64_t session = 0;
  uint32_t at_s = 0;  // of the monotonic clock
  base::Bytes list;
  template <class A, class R>
  static void fields(A& a, R& r) {
    a(r.session, r.at_s, r.list);
  }
};

// A user at the home shard of its presence.
struct User {
  static constexpr RecordType kType = RecordType::kUser;
  std::string_view name;
  uint8_t chosen = 0;  // session::Status
  std::string_view text;
  int64_t seen_ms = 0;    // Unix
  uint64_t watchers = 0;  // bit for each shard
  uint16_t connections = 0;
  uint8_t pending = 0;           // 1: watchers were not told what is shown now
  std::vector<uint32_t> places;  // shard, slot, generation of each connection that is known
  template <class A, class R>
  static void fields(A& a, R& r) {
    a(r.name, r.chosen, r.text, r.seen_ms, r.watchers, r.connections, r.pending, r.places);
  }
};

// An entry of a user's lists, at the user's home shard.
struct UserEntry {
  static constexpr RecordType kType = RecordType::kUserEntry;
  std::string_view user;
  uint8_t relation = 0;  // session::Relation
  uint8_t value = 0;
  std::string_view name;
  template <class A, class R>
  static void fields(A& a, R& r) {
    a(r.user, r.relation, r.value, r.name);
  }
};

// A group at its home shard, behind its members in the order in which they came.
struct GroupMember {
  static constexpr RecordType kType = RecordType::kGroupMember;
  std::string_view group;
  std::string_view user;
  uint8_t role = 0;  // session::GroupRole, 0: invited
  template <class A, class R>
  static void fields(A& a, R& r) {
    a(r.group, r.user, r.role);
  }
};
struct Group {
  static constexpr RecordType kType = RecordType::kGroup;
  std::string_view name;
  uint8_t access = 0;  // session::GroupAccess
  uint64_t version = 0;
  template <class A, class R>
  static void fields(A& a, R& r) {
    a(r.name, r.access, r.version);
  }
};

// Whom a connection watches.
struct Watch {
  static constexpr RecordType kType = RecordType::kWatch;
  uint32_t slot = 0;
  std::string_view user;
  uint8_t status = 0;  // as last heard
  std::string_view text;
  int64_t last_seen_ms = 0;
  uint8_t due = 0;         // 1: the client was not told of it yet
  uint8_t restricted = 0;  // 1: not all may see the user
  uint8_t hidden = 0;      // 1: this connection may not
  template <class A, class R>
  static void fields(A& a, R& r) {
    a(r.slot, r.user, r.status, r.text, r.last_seen_ms, r.due, r.restricted, r.hidden);
  }
};

}  // namespace tidegate::handover
