// SPDX-License-Identifier: Apache-2.0
// What a shard knows of one logged-in connection beyond its socket: session, identity, entity and
// what is owed to the client at the next flush. The row number is the connection's slot.
// Thread: shard. Owner: Shard. Limits: one row for each connection; identity in blocks of 64 or
// 2,048 bytes.
#pragma once

#include <cstdint>

#include "base/ids.h"
#include "base/time.h"
#include "session/session.h"
#include "world/world_slice.h"

namespace tidegate::shard {

struct Player {
  uint64_t session = 0;    // random; 0: no session in this row
  int64_t expires_at = 0;  // Unix seconds, 0: the token does not expire
  base::EntityId entity;   // none until the home shard has answered
  uint16_t owner = 0;      // shard that owns the entity, as last heard
  session::State state = session::State::kDisconnected;
  uint8_t end = 0;                 // session::End, with kSessionEnds
  uint16_t flags = 0;              // PlayerFlag bits
  uint8_t packing = 0;             // form of payloads to it (packing.h); 0: as they are
  uint32_t identity = UINT32_MAX;  // block of Identities
  float view_distance = 0;         // metres, 0: the configured one
  uint32_t budget = 0;             // bytes a second that the client asked for, 0: as configured
  world::Steps3 position{};        // as last heard
  uint32_t client_tick = 0;        // highest the client has sent
  session::InboundSequence inbound;
  uint64_t sent = 0;         // highest sequence the client may have from us
  uint64_t acked = 0;        // highest it has acknowledged
  uint32_t replay_left = 0;  // messages of the session that come before the state
  session::RateLimit rate;
  session::RateLimit reports;  // CELL_REPORTs
  session::RateLimit changes;  // of groups and lists
  session::ViolationCounter violations;
  world::MoveResult answer{};  // MOVE_ACK due at the next flush when kAnswerDue
};
static_assert(sizeof(Player) <= 192, "idle memory is measured against 1 KiB a connection");

enum PlayerFlag : uint16_t {
  kHasHello = 1,     // CLIENT_HELLO came
  kPacked = 2,       // state_encoding packed
  kLoginPosted = 4,  // home shard was asked for the entity
  kAnswerDue = 8,
  kResumeAsked = 16,   // the upgrade carried resume=
  kReplacedFlag = 32,  // another connection has the player now; the home shard knows
  kMoved = 64,         // position changed since interest was decided
  kAckQueued = 128,    // in the shard's queue of owed acknowledgements
  kSessionEnds = 256,  // the session ends with this connection
  kConfirmed = 512,    // the client has shown that it has its resume token
  kLoginWaits = 1024,  // the state may begin when replay_left is 0
  kRestored = 2048,    // the session came from the store of an earlier server
  kJoinWaits = 4096,   // in the shard's JoinQueue
  // From the other end, apart from those above.
  kTokenChecked = 1 << 13,  // a TOKEN_REFRESH waits for its answer
  kUserCounted = 1 << 15,   // AdmissionTables count the user
  kExpiryWarned = 1 << 14,  // the client was told that its token will expire
};

// Bits that go to another process in an upgrade: their numbers are a part of that format. What is
// due in a flush was sent before; users are counted anew.
inline constexpr uint16_t kCarriedFlags = kHasHello | kPacked | kLoginPosted | kResumeAsked |
                                          kReplacedFlag | kSessionEnds | kConfirmed | kLoginWaits |
                                          kRestored | kExpiryWarned;

}  // namespace tidegate::shard
