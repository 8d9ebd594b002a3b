// SPDX-License-Identifier: Apache-2.0
// From a Target of the public API to the mailbox messages that serve it, for shards and for control
// (which posts for host threads).
// Thread: any. Owner: values. Limits: kPeerBytesMax of payload.
#pragma once

#include <cstdint>
#include <string_view>

#include "mailbox/messages.h"
#include "tidegate/events.h"

namespace tidegate::shard {

struct TargetWorld {
  uint32_t shards;
  float position_step;  // metres
  std::string_view zone;
};

struct TargetMail {
  bool to_one = false;    // a message with the id in front of the payload, to `receiver` ...
  bool to_user = false;   // ... SendToUser, else SendToPlayer
  bool to_group = false;  // DeliverGroup with the id in front of the payload, to every shard
  uint32_t receiver = 0;
  mailbox::DeliverNear near{};  // else this one, to every shard
};

// kOk, kTooLarge or kRange.
SendResult plan_target(const Target& target, const TargetWorld& world, uint32_t type, Bytes payload,
                       TargetMail* out);

}  // namespace tidegate::shard
