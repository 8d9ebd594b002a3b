// SPDX-License-Identifier: Apache-2.0
// What may become of the wish to go on with an earlier session, and why sessions end: one table for
// RESUME_RESULT, the ERROR that goes with it, metrics and the admin API.
// Thread: any. Owner: none. Limits: none.
#pragma once

#include <cstdint>

namespace tidegate::session {

// Characters of a resume token at most; longer ones are none of ours.
inline constexpr uint32_t kResumeBytesMax = 96;

enum class Resume : uint8_t {
  kNotAsked,
  kResumed,
  kBadToken,      // not one of ours, changed, or of another user
  kTokenExpired,  // session.token_lifetime is over
  kTokenUsed,     // a later one was given and has arrived
  kSessionEnded,  // no such session any more: expired, replaced by another login, ended
  kCount,
};
// For metrics: "resumed", "bad_token", ...
const char* name_of(Resume verdict);
// For RESUME_RESULT; empty when resumed.
const char* reason_of(Resume verdict);
// The ERROR that is sent with it; 0: none.
uint16_t error_of(Resume verdict);

enum class End : uint8_t {
  kLeft,      // the client said DISCONNECT
  kExpired,   // nobody came back within session.resume_window
  kReplaced,  // the player logged in without resuming
  kReplay,    // more was unacknowledged than session.replay_messages or replay_bytes
  kMemory,    // session.replay_memory is used up
  kRoom,      // session.limit was reached, it was the longest parked one
  kClosed,    // by an administrator
  kDiverged,  // the client has messages that this server never sent
  kTaken,     // not ended: another gateway has it
  kCount,
};
const char* name_of(End end);

}  // namespace tidegate::session
