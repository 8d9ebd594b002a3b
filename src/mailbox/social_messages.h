// SPDX-License-Identifier: Apache-2.0
// Messages between shards about groups and users' lists. Whose home is whose: a group's is that of
// its topic, a user's that of its presence. Rules as in messages.h.
// Thread: any. Owner: values. Limits: kTailBytesMax for the tail.
#pragma once

#include "mailbox/messages.h"

namespace tidegate::mailbox {

enum GroupAskFlag : uint8_t {
  kGroupModerates = 1,  // the actor may do what a leader may
  kGroupQuiet = 2,      // nobody waits for a SocialAnswer
};

// A client's, or the server's, GROUP_REQUEST. To the group's home. Tail: group, actor, target. Keep
// (clients' are refused while much is kept).
struct GroupAsk {
  static constexpr MessageType kType = MessageType::kGroupAsk;
  ConnectionRef connection;  // that wants to know; invalid: nobody
  uint64_t sequence;
  uint8_t operation, role, access;
  uint8_t flags;
  uint8_t group_bytes, actor_bytes, target_bytes;
  uint8_t unused = 0;
};

// What became of a GROUP_REQUEST or SOCIAL_UPDATE. Home to the connection's shard. Tail: what REPLY
// is to say. Keep.
struct SocialAnswer {
  static constexpr MessageType kType = MessageType::kSocialAnswer;
  ConnectionRef connection;
  uint64_t sequence;
  uint32_t code;        // 0, or an error
  uint32_t counts = 0;  // 1: against the client
};

// What a user is in a group from now on. The group's home to the user's home (`connection` is
// none), and from there to the shard of each connection of the user. Tail: group, user, by. Keep.
struct GroupMembership {
  static constexpr MessageType kType = MessageType::kGroupMembership;
  ConnectionRef connection;
  uint64_t version;
  uint64_t offset;  // of the change in the group's topic
  uint8_t change, role, access;
  uint8_t group_bytes, user_bytes, by_bytes;
  uint8_t unused[2] = {};
};

// The shard of a connection still does not know its user's entries. To the user's home, which has
// told them at the login unless too much waited. Tail: user. Keep.
struct UserAsk {
  static constexpr MessageType kType = MessageType::kUserAsk;
  ConnectionRef connection;
};

// Entries of a user's lists: the user's home to the shard of a connection. Tail: for each a
// UserEntry and its name. Keep.
struct UserEntries {
  static constexpr MessageType kType = MessageType::kUserEntries;
  ConnectionRef connection;
  uint32_t complete;  // 1: with this piece the shard knows all, as after a login
  uint32_t unused = 0;
};
struct UserEntry {
  uint8_t relation;  // session::Relation
  uint8_t value;
  uint8_t gone;  // 1: the entry is no more
  uint8_t name_bytes;
};

// A client's SOCIAL_UPDATE, as it came. To the user's home. Tail: user, payload. Keep (refused
// while much is kept).
struct SocialSet {
  static constexpr MessageType kType = MessageType::kSocialSet;
  ConnectionRef connection;
  uint64_t sequence;
  uint32_t user_bytes;
  uint32_t unused = 0;
};

// An entry of users' lists changed: the home shard to control, which keeps it. Tail: user, name.
// Keep.
struct UserRecord {
  static constexpr MessageType kType = MessageType::kUserRecord;
  uint8_t relation;  // session::Relation
  uint8_t value;
  uint8_t gone;  // 1: the entry is no more
  uint8_t user_bytes;
};

// Admin: what this shard knows of a user. Control to every shard. Tail: user id. Keep.
struct UserQuestion {
  static constexpr MessageType kType = MessageType::kUserQuestion;
  uint32_t request;
  uint32_t erase;  // 1: and forget it
};
enum class UserFactKind : uint8_t {
  kEnd = 0,       // of one shard's
  kEntry = 1,     // of the user's lists: value a session::Relation, number its value
  kPresence = 2,  // value: status as chosen; number: connections; data: the status text
  kLastSeen = 3,  // number: Unix ms
  kMessage = 4,   // that it published: number the offset, name the topic, data
  kNamed = 5,     // number: entries of other users' lists that name it
};
// Shard to control. Tail: name, data. Keep; left out while much is kept (the answer is then not
// complete).
struct UserFact {
  static constexpr MessageType kType = MessageType::kUserFact;
  uint64_t number;
  uint32_t request;
  UserFactKind kind;
  uint8_t value;
  uint16_t name_bytes;
};

// A message of the game for the members of a group, to every shard. Tail: group, payload. Drop.
struct DeliverGroup {
  static constexpr MessageType kType = MessageType::kDeliverGroup;
  uint64_t source;  // hash of the user it comes from; 0: the server
  uint32_t message_type;
  uint32_t group_bytes;
};

// Where members of focus groups stand whose position changed in this tick, to every shard. Tail:
// records of social_focus.cc. Drop (the next change tells again).
struct FocusMoves {
  static constexpr MessageType kType = MessageType::kFocusMoves;
  uint32_t tick;
  uint32_t unused = 0;
};

}  // namespace tidegate::mailbox
