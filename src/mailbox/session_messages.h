// SPDX-License-Identifier: Apache-2.0
// Messages about sessions, between a connection's shard and the home shard of its player, which
// keeps the session. Each pair of shards has one ring, so what one says to the other stays in
// order; decision 8 shows what follows from that.
// Thread: any. Owner: values. Limits: kTailBytesMax for the tail.
#pragma once

#include "mailbox/messages.h"
#include "mailbox/stored_session.h"

namespace tidegate::mailbox {

// A token was accepted: begin a session or go on with one. Connection's shard to the home shard,
// or back to it from the shard of an older connection that had to leave first. Tail: player id,
// resume token of the new session, resume token of the resumed one. Keep.
struct SessionOpen {
  static constexpr MessageType kType = MessageType::kSessionOpen;
  ConnectionRef connection;
  uint64_t session;         // id of the new one, if it comes to that
  uint64_t resume_session;  // to go on with
  uint32_t nonce;           // of both resume tokens in the tail
  uint32_t resume_nonce;    // of the token that was shown
  uint16_t connection_shard;
  uint8_t resume;  // session::Resume: kNotAsked, kResumed (the token is a good one) or why not
  uint8_t player_bytes;
  uint8_t token_bytes[2];
  uint16_t sure = 0;      // 1: its shard was asked whether it still waits
  uint32_t coming = 0;    // not 0: back with the session claimed already, for a row of that coming
  uint32_t since_ms = 0;  // when the client asked, by this machine's clock; wraps
};

// The answer. Tail: player id, the resume token to give. Keep.
struct SessionOpened {
  static constexpr MessageType kType = MessageType::kSessionOpened;
  ConnectionRef connection;
  uint64_t session;    // 0: refused
  uint64_t received;   // highest sequence from the client
  uint64_t safe;       // of them, up to here it may be acknowledged
  uint64_t last_sent;  // highest sequence that the client may have from us
  uint32_t replayed;   // messages that follow before anything else
  uint8_t resume;      // session::Resume
  uint8_t refused;     // with session 0: 1 the player is connected already, 2 no room, 3 the store
                       // is away, and without it nobody knows what became of the session; or the
                       // client has asked again since
  uint8_t restored;    // 1: the session comes from the store
  uint8_t player_bytes;
};

// The session is no longer this connection's. Home shard to the connection's shard. Tail: the
// SessionOpen (with its tail) that waits for the answer, a SessionLeft in front of it. Keep.
struct SessionRelease {
  static constexpr MessageType kType = MessageType::kSessionRelease;
  ConnectionRef connection;
  uint64_t session;
  uint32_t open_bytes;  // 0: a new session took its place; nobody waits
  uint32_t asks = 0;  // 1: only whether that connection waits for the SessionOpen, which comes back
};

// The home shard ended the session. To the connection's shard. Keep.
struct SessionClosed {
  static constexpr MessageType kType = MessageType::kSessionClosed;
  ConnectionRef connection;
  uint64_t session;
  uint32_t end;  // session::End
  uint32_t unused = 0;
};

// The connection is gone; the session is parked, or ends. To the home shard. Tail: player id. Keep.
struct SessionLeft {
  static constexpr MessageType kType = MessageType::kSessionLeft;
  ConnectionRef connection;
  uint64_t session;
  uint64_t received;  // highest sequence from the client that was delivered
  uint8_t ends;       // 1: for good
  uint8_t end;        // session::End, with `ends`
  uint16_t connection_shard;
  uint32_t unused = 0;
};

// What the connection has learnt. To the home shard. Tail: player id. Keep.
struct SessionProgress {
  static constexpr MessageType kType = MessageType::kSessionProgress;
  ConnectionRef connection;
  uint64_t session;
  uint64_t acked;      // highest that the client acknowledged
  uint64_t received;   // highest sequence from the client that was delivered
  uint16_t confirmed;  // 1: the client has its new resume token
  uint16_t connection_shard;
  uint32_t unused = 0;
};

// A message to be delivered with acknowledgement: any shard to the home shard. Tail: player id,
// payload. The sender is told when there is no room (kBusy); a player without session is counted.
struct SessionSend {
  static constexpr MessageType kType = MessageType::kSessionSend;
  uint64_t session;  // 0: whatever session the player has
  uint64_t origin;   // names the client's message that caused it and which of its effects; 0: none
  uint32_t message_type;
  uint32_t player_bytes;
};

// The same under its number, on its last leg. Tail: payload. Not kept: it is in the log and goes
// out when the ring has room.
struct SessionDeliver {
  static constexpr MessageType kType = MessageType::kSessionDeliver;
  ConnectionRef connection;
  uint64_t session;
  uint64_t sequence;
  uint32_t message_type;
  uint32_t unused = 0;
};

// What the client sent up to `received` is in the store, so it may be acknowledged. Home shard to
// the connection's shard. Keep.
struct SessionSaved {
  static constexpr MessageType kType = MessageType::kSessionSaved;
  ConnectionRef connection;
  uint64_t session;
  uint64_t received;
};

enum class SessionChangeOp : uint32_t {
  kPut,       // the whole row, without its messages; those it had are gone. Tail: player id
  kUpdate,    // the row's numbers again
  kAppend,    // a message behind the others. Tail: payload
  kProgress,  // `acked` and `received`; messages up to `acked` are gone
  kEnd,       // row and messages are gone
  kClear,     // all rows of this shard are gone, unless they are said again before kSynced
  kSynced,    // the end of saying everything anew
  // Only for a store that gateways share:
  kClaim,    // the session of a player is to be this gateway's; SessionClaimed answers. `attached`:
             // this shard has a row; `fresh`: not if it has a connection; `session` and
             // `nonce_before`: of the token that was shown; `nonce`: of the one that will be given.
             // Tail: the SessionOpen
  kForward,  // a message for a player who is elsewhere, `session` 0 or whose. Tail: player, payload
  kSettled,  // the letter of that origin was delivered before
  kForget,   // it went elsewhere, or was not needed: for each kPut or SessionClaimed with a state
             // there is one, or a kEnd
  kReturn,   // the state that SessionClaimed showed is not looked at any more; `sequence` names it
  kAnswer,   // a SessionClaimed of kStored is to come when all before it is stored, or will not be.
             // Tail: the SessionOpen
};

// A change for the store: home shard to control, which writes it behind. Keep, up to a point: while
// too much waits for control the shard stops, and says everything again later (kClear, then kPut).
struct SessionRecord {
  static constexpr MessageType kType = MessageType::kSessionRecord;
  uint64_t number;  // of this shard's changes, rising by one
  uint64_t session;
  uint64_t received;
  uint64_t acked;
  uint64_t sequence;  // of kAppend
  uint64_t origin;    // of kAppend
  uint32_t nonce;
  uint32_t nonce_before;
  uint32_t created_s;
  uint32_t seen_s;
  uint32_t resumed;
  uint32_t message_type;  // of kAppend
  uint32_t attached;
  SessionChangeOp op;
  uint32_t fresh;         // of kPut: the session began while the store could not be asked who has
                          // the player; of kAppend: 1 it is new, 2 also for the next session
  uint32_t player_bytes;  // of kForward
  uint32_t coming;        // of the row, or of kClaim the one it will be; a change of a row that was
                          // there before the last claim does not count
  uint32_t since_ms;      // of kPut and kClaim: as in SessionOpen; 0: it is not known
};

// The store has all changes up to `number`. Control to the shard. Keep.
struct SessionsStored {
  static constexpr MessageType kType = MessageType::kSessionsStored;
  uint64_t number;
  uint32_t failed;  // 1: it cannot be written; nobody is to wait for it
  uint32_t again;   // 1: it can be written again, but has missed changes: say everything once more
};

enum class SessionClaim : uint32_t {
  kMine,    // it was and is this gateway's
  kNone,    // the store knows no session of the player; this gateway may make one
  kState,   // it was another gateway's, or nobody's, and is this one's now
  kHeld,    // it is connected to another gateway, and stays there
  kDown,    // the store does not answer
  kWait,    // it is another gateway's, and not to be taken from it now
  kLate,    // the player was let in elsewhere, and had asked for that later
  kStored,  // not of a claim but of kAnswer
};

// The answer to kClaim or kAnswer. Control to the home shard. Tail: the SessionOpen with its tail.
// Keep.
struct SessionClaimed {
  static constexpr MessageType kType = MessageType::kSessionClaimed;
  const StoredSession* state;  // of kState, valid until kReturn
  uint64_t claim;              // names it
  SessionClaim status;
  uint32_t from_here;  // of kState: this gateway had it already
  uint32_t coming;     // of the row that is to be made
  uint32_t unused = 0;
};

// Another gateway has the session. Control to the home shard. Tail: player id. Keep.
struct SessionTaken {
  static constexpr MessageType kType = MessageType::kSessionTaken;
  uint64_t session;
  uint32_t coming;  // of the row that was
  uint32_t unused = 0;
};

// A message that another gateway left for a session of this home shard. Control to it. Tail: player
// id, payload. Keep.
struct SessionLetter {
  static constexpr MessageType kType = MessageType::kSessionLetter;
  uint64_t origin;
  uint64_t session;  // 0: for whatever session the player has
  uint32_t message_type;
  uint32_t player_bytes;
};

// Admin: sessions of this home shard from `offset`, or that of one player. Control to shard; rows
// and a ListEnd come back. Tail: player id, or nothing for all. Keep.
struct ListSessions {
  static constexpr MessageType kType = MessageType::kListSessions;
  uint32_t request;
  uint32_t offset;
  uint32_t limit;
};

// Tail: player id. Shard to control. Keep.
struct SessionRow {
  static constexpr MessageType kType = MessageType::kSessionRow;
  uint64_t session;
  uint64_t received;
  uint64_t sent;  // highest sequence given out
  uint64_t acked;
  uint32_t request;
  uint32_t replay_bytes;
  uint32_t created_s;
  uint32_t seen_s;
  uint32_t resumed;
  uint16_t connection_shard;
  uint8_t attached;
  uint8_t from_store;
};

}  // namespace tidegate::mailbox
