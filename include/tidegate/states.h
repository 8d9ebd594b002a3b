// SPDX-License-Identifier: Apache-2.0
// Keyed state: values of the game's own under a name, kept by the server and told to those whom
// their scope means. docs/embedding.md has the table of all kinds of state with what they cost.
//
//   zone      everybody in the world sees it: events, scores, a door in a corridor
//   place     who is within its radius sees it, and no longer when it walks away
//   session   one player's session: quests, a purse; comes again after a reconnect
//   view      one connection: what a player's picture shows; gone with the connection
//
// With a lifetime any of them is ephemeral: it disappears by itself when its time is over.
//
// Clients may ask to change a state; its rule says who may. The home of a key decides in the order
// of ticks, and the server's word is final: the loser is sent the value that holds, with a reason.
//
// Thread: set_state and remove_state of Server from any, of Context and World in their call; the
// hook on the shard that keeps the state. Owner: everything is copied. Limits: kStateKeyBytesMax,
// kStateValueBytesMax, `state.entries` and `state.private_entries` of each shard.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tidegate/handlers.h"

namespace tidegate {

inline constexpr size_t kStateKeyBytesMax = 64;
inline constexpr size_t kStateValueBytesMax = 256;

enum class StateScope : uint8_t { kZone = 0, kPlace = 1, kSession = 2, kView = 3 };

// Which changes of clients are taken; the server's own always are.
enum class StateRule : uint8_t {
  kServer = 0,   // none
  kVersion = 1,  // who names the version that holds; a stale one loses
  kFirst = 2,    // who claims it first, in the order of ticks, has it until it is released
  kOwner = 3,    // the player named as its owner; of session and view the player itself
};

// What a client asks for.
enum class StateOperation : uint8_t { kSet = 0, kClaim = 1, kRelease = 2 };

// Why a client's change was refused.
enum class StateReason : uint8_t {
  kApplied = 0,
  kUnknown = 1,     // no such state (any more)
  kServerOnly = 2,  // its rule is kServer
  kStale = 3,       // another change came first
  kTaken = 4,       // another player has it
  kNotOwner = 5,    // only its owner may
  kTooFar = 6,      // outside of the place's radius
  kInvalid = 7,     // an operation that its rule does not know, or a value that is too large
  kRefused = 8,     // by the game (WorldHooks::state_attempt)
  kBusy = 9,        // too many changes in this tick, or the way to its home is full
};

struct StateSpec {
  std::string_view key;  // 1 to kStateKeyBytesMax bytes of UTF-8 without control characters
  StateScope scope = StateScope::kZone;
  StateRule rule = StateRule::kServer;
  Bytes value;
  std::string_view player;   // of session and view: whose
  std::string_view owner;    // of kOwner and kFirst in zone and place; empty: nobody yet
  Position position;         // of a place
  float radius = 0;          // of a place, metres; 0: world.view_distance
  uint32_t lifetime_ms = 0;  // 0: until it is removed
  uint32_t hold_ms = 0;      // how long a claim holds unless it is made again; 0: until released
};

// One client's change, before it is applied.
struct StateAttempt {
  std::string_view player;
  std::string_view key;
  StateScope scope = StateScope::kZone;
  StateOperation operation = StateOperation::kSet;
  Bytes wanted;
  Bytes value;                                 // that holds
  std::string_view owner;                      // that has it; empty: nobody
  uint64_t version = 0;                        // that holds
  StateReason reason = StateReason::kApplied;  // what the rule says
  uint32_t refused = 0;  // changes of this connection that were refused, this one included
  uint32_t tick = 0;
};

enum class StateVerdict : uint8_t {
  kByRule = 0,      // what happens without a hook
  kApply = 1,       // forgiven: applied in spite of the rule (not when the state is not there)
  kRefuse = 2,      // corrected: refused with kRefused, or the rule's reason
  kDisconnect = 3,  // refused, then closed with 1008
};

}  // namespace tidegate
