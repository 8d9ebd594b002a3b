// SPDX-License-Identifier: Apache-2.0
// Messages about keyed state, between whoever sets or changes it, its home shard, and the shards
// that show it. Enums are those of state/state_home.h, as numbers.
// Thread: any. Owner: values. Limits: kTailBytesMax for the tail.
#pragma once

#include "mailbox/messages.h"

namespace tidegate::mailbox {

// The server's word: a state is this now, or is to go. From a shard or control to the state's home.
// Tail: key, player, owner, value. Refuse (SendResult::kBusy).
struct StateSet {
  static constexpr MessageType kType = MessageType::kStateSet;
  uint32_t lifetime_ms;  // 0: for good
  uint32_t hold_ms;
  int32_t position[3];  // steps
  uint32_t radius;      // steps
  uint8_t scope;
  uint8_t rule;
  uint8_t remove;  // 1: all but key, player and scope is nothing
  uint8_t key_bytes;
  uint8_t player_bytes;
  uint8_t owner_bytes;
  uint16_t value_bytes;
};

// What a client asks for. Connection's shard to the state's home. Tail: key, player, value. Refuse
// (STATE_RESULT with kBusy).
struct StateAsked {
  static constexpr MessageType kType = MessageType::kStateAsked;
  ConnectionRef connection;
  uint32_t tick;  // decided with this tick, when all shards have simulated it
  uint32_t request;
  uint64_t base_version;
  int32_t position[3];
  uint32_t refused;  // changes of the connection that were refused so far
  uint8_t scope;
  uint8_t operation;
  uint8_t key_bytes;
  uint8_t player_bytes;
};

// What came of it. Home to the connection's shard. Tail: key, owner, value (what holds). Keep.
struct StateAnswered {
  static constexpr MessageType kType = MessageType::kStateAnswered;
  ConnectionRef connection;
  uint64_t version;  // 0: there is no such state
  uint32_t request;
  uint32_t expires_tick;
  uint8_t scope;
  uint8_t reason;
  uint8_t disconnect;  // 1: the game wants the client closed
  uint8_t key_bytes;
  uint8_t owner_bytes;
  uint8_t unused[3];
};

// A zone or place state as it is now, for the board of every shard. Home to all shards. Tail: key,
// owner, value. Keep.
struct StateShown {
  static constexpr MessageType kType = MessageType::kStateShown;
  uint64_t version;
  uint32_t row;  // the home's
  uint32_t expires_tick;
  int32_t position[3];
  uint32_t radius;
  uint8_t scope;
  uint8_t removed;  // 1: it is gone; no tail
  uint8_t key_bytes;
  uint8_t owner_bytes;
};

// A session or view state, for the one connection that sees it. Home to the connection's shard.
// Tail: the payload of a STATE_UPDATE. Keep.
struct StateTold {
  static constexpr MessageType kType = MessageType::kStateTold;
  ConnectionRef connection;
};

}  // namespace tidegate::mailbox
