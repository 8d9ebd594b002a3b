// SPDX-License-Identifier: Apache-2.0
// Messages between the shards and the bus (src/bus), which control runs: what is for other
// gateways, and what comes from them. A gateway has an index below kGatewaysMax here, which stays
// the same as long as the process lives; a set of gateways is a mask. Thread: any. Owner: values.
// Limits: kGatewaysMax.
#pragma once

#include "mailbox/messages.h"

namespace tidegate::mailbox {

inline constexpr uint32_t kGatewaysMax = 64;
inline constexpr uint64_t kAllGateways = ~uint64_t{0};  // all others
inline constexpr uint16_t kShardByName = 0xffff;        // the home shard of the name
inline constexpr uint16_t kEveryShard = 0xfffe;

// The numbers are part of what gateways say to each other (docs/cluster.md): they stay.
enum class BusOp : uint16_t {
  kNone = 0,
  // Topics, between the topic's home shards of two gateways. Name: the topic.
  kTopicJoin = 1,       // a: the offset that is expected next; b: of the view, comes back
  kTopicJoined = 2,     // a: the home's next offset; d: 0 or an error
  kTopicLeave = 3,      //
  kTopicPublish = 4,    // a: connection; b: sequence; c: event type; flags: TopicFlag.
                        // extra: user; data
  kTopicPublished = 5,  // to the publisher's shard. a, b as above; c: offset; d: 0 or an error
  kTopicEvent = 6,      // a: offset; d: note; data: the frame
  kTopicPull = 7,       // a: from; b: subscription << 32 | generation; d: 1 + shard that asks, or 0
  kTopicPiece = 8,      // a: next; b, d as above; flags: 1 done; data: TopicRecords
  kTopicTail = 9,       // a: the home's next offset, said when it has been quiet
  kTopicHandover = 10,  // to the new home. a: next offset; flags: 1 it may be higher, as the home
                        // before was lost; data: TopicRecords, the newest
  // Presence, between the user's home shards. Name: the user.
  kPresenceWatch = 20,  // flags: 1 on, 0 off
  kPresenceState = 21,  // a: last seen; b: when chosen; d: status << 8 | connected; data: text
  kPresenceAsk = 22,    // the user came: who knows what it chose says so
  // Messages of the game. Name: user or player; b: source, as in SendToPlayer; d: type; data:
  // payload.
  kSendUser = 30,
  kSendPlayer = 31,
  kSendSession = 32,  // a: session or 0; b: origin
  kSendEveryone = 33,
  kLoggedIn = 34,  // the player came in at the sender. a: Unix ms
  kSendNear = 35,  // a: x << 32 | z, steps; b: source; c: shape << 32 | radius; d: type
  // One world (shard/realm.h). Name: the player, or the entity's.
  kRealmBatch = 50,  // no name. data: a batch (realm/batch.h), for every shard
  kRealmClaim = 51,  // the player came in at the sender, or at b. a: entity << 32 | stamp; d: hops
  kRealmGiven = 52,  // d: 1: it is yours, data: a batch of one; 0: not ours to give
  // Something between the two gateways was lost on the way. For every shard.
  kMissed = 53,
  // Backend services.
  kServiceCall = 40,    // a: connection; b: sequence; d: type; extra: user, player, permissions
  kServiceAnswer = 41,  // a, b as above; d: type of the answer, 0: an error; c: its code
  // Views, between the bus and its own shards only. a: view; d: phase; b: with 3, the view's era
  kMark = 60,
  kEcho = 61,
};

// Shard to control: for `gateways`. Control to shard: from the one gateway in `gateways`. Tail:
// name, extra, data. Drop, apart from kEcho; what needs an answer is asked again.
struct BusMail {
  static constexpr MessageType kType = MessageType::kBusMail;
  uint64_t gateways = 0;
  uint64_t a = 0, b = 0, c = 0;
  uint32_t d = 0;
  BusOp op = BusOp::kNone;
  uint16_t shard = kShardByName;  // that it is for, on the other gateway
  uint16_t name_bytes = 0;
  uint16_t extra_bytes = 0;
  uint16_t flags = 0;
  uint16_t unused = 0;
};

struct BusMember {
  uint64_t id;     // hash of the gateway's name
  uint64_t epoch;  // rises when the gateway may have missed something
  uint32_t index;
  uint32_t self;  // 1: this gateway
};

// Who is in the cluster from now on. Control to every shard. Tail: BusMembers. Keep (by control).
struct BusView {
  static constexpr MessageType kType = MessageType::kBusView;
  uint64_t view;
};

}  // namespace tidegate::mailbox
