// SPDX-License-Identifier: Apache-2.0
// A session as a store keeps it: what control hands to the home shard of a player that comes from
// another gateway, or from an earlier process.
// Thread: one at a time. Owner: who made it. Limits: those of the session when it was written.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tidegate::mailbox {

struct StoredMessage {
  uint64_t sequence;
  uint32_t type;
  std::vector<uint8_t> payload;
};

// A message to be delivered with acknowledgement that another gateway left for the session.
struct StoredLetter {
  uint64_t origin;   // as in SessionSend; never 0
  uint64_t session;  // only for that one; 0: for whatever session the player has
  uint32_t type;
  std::vector<uint8_t> payload;
};

struct StoredSession {
  uint64_t id = 0;
  std::string player;
  uint64_t received = 0;
  uint64_t acked = 0;
  uint32_t nonce = 0;
  uint32_t nonce_before = 0;
  uint32_t created_s = 0;
  uint32_t seen_s = 0;
  uint32_t resumed = 0;
  bool attached = false;                // a connection held it
  std::vector<StoredMessage> messages;  // in order, from acked + 1
  std::vector<uint64_t> effects;        // origins that are among the messages, or were
  std::vector<StoredLetter> letters;    // in order; with no number yet
};

}  // namespace tidegate::mailbox
