// SPDX-License-Identifier: Apache-2.0
// Orders about entities of other gateways (shard/realm.h), between the home shard of an entity's
// name and the shard that has its place. Thread: any. Owner: values. Limits: none of their own.
#pragma once

#include "mailbox/messages.h"

namespace tidegate::mailbox {

enum class RealmOp : uint8_t {
  kSpawn,   // make it; it is another gateway's. Tail: name, custom state
  kMove,    // it is there now
  kCustom,  // its custom state. Tail: custom state
  kRemove,  // it leaves the world
  kYield,   // ours until now: another gateway owns it. To `gateways`, if any, goes all of it
  // To the home shard. Tail: name.
  kRefused,  // kSpawn: no room, or it is our own and stays so
  kYielded,  // it stands there, and is another gateway's from now on
};

// kMove and kCustom: drop. Others: keep.
struct RealmOrder {
  static constexpr MessageType kType = MessageType::kRealmOrder;
  uint64_t tag;
  uint64_t gateways;
  int64_t sent_ms;  // of kMove: when its owner said so, Unix time
  EntityId entity;
  uint32_t stamp;
  int32_t position[3];  // steps
  uint32_t flags;
  int16_t velocity[3];
  RealmOp op;
  uint8_t kind;  // world::EntityKind
  uint8_t yaw;
  uint8_t hops;
  uint16_t name_bytes;  // of the tail; the rest is custom state
  uint32_t unused;
};
static_assert(sizeof(RealmOrder) == 64);

}  // namespace tidegate::mailbox
