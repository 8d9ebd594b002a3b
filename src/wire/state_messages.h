// SPDX-License-Identifier: Apache-2.0
// Payloads of keyed state: STATE_UPDATE, STATE_CHANGE and STATE_RESULT (docs/protocol.md, "Keyed
// state"). Strings and bytes are borrowed from the input.
// Thread: any. Owner: borrows. Limits: the caller's buffer.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "wire/messages.h"
#include "wire/pb.h"

namespace tidegate::wire {

struct StateEntry {
  std::string_view key;
  base::Bytes value;
  uint64_t version = 0;
  uint32_t scope = 0;          // StateScope
  std::string_view owner;      // player id, empty: nobody
  Vector3 position;            // of a place
  uint32_t expires_in_ms = 0;  // 0: never
  bool removed = false;
  bool has_position = false;
};

struct StateChange {
  std::string_view key;
  base::Bytes value;
  uint64_t base_version = 0;  // the client's; 0: it does not matter
  uint32_t scope = 0;
  uint32_t operation = 0;  // StateOperation
  uint32_t request = 0;    // of the client's choice, stands in the result
};

struct StateResult {
  uint32_t request = 0;
  std::string_view key;
  uint32_t scope = 0;
  uint32_t reason = 0;   // StateReason; 0: applied
  uint64_t version = 0;  // that holds now
  StateEntry current;    // what holds, when it was refused and there is one
  bool has_current = false;
};

inline constexpr uint32_t kStateUpdateTick = 1;
inline constexpr uint32_t kStateUpdateComplete = 2;
inline constexpr uint32_t kStateUpdateEntries = 3;
// Most bytes an entry takes in a STATE_UPDATE: key, value and owner at their limits.
inline constexpr uint32_t kStateEntryBytesMax = 512;

bool decode(base::Bytes bytes, StateEntry* out);
bool decode(base::Bytes bytes, StateChange* out);
bool decode(base::Bytes bytes, StateResult* out);
void encode(PbWriter& out, const StateEntry& m);
void encode(PbWriter& out, const StateChange& m);
void encode(PbWriter& out, const StateResult& m);

// STATE_UPDATE: its own fields, and visit(StateEntry) for each entry. False: malformed; what was
// visited before then counts.
struct StateUpdateHead {
  uint32_t tick = 0;
  uint32_t complete = 0;  // bit n: of scope n these are all
};
template <class Visit>
bool decode_state_update(base::Bytes bytes, StateUpdateHead* head, Visit&& visit) {
  *head = {};
  // The head counts for all entries, wherever it stands.
  PbReader first(bytes);
  while (first.next()) {
    const bool number = first.is(WireType::kVarint);
    if (first.field() <= kStateUpdateComplete && !number) return false;
    if (first.field() == kStateUpdateTick) head->tick = static_cast<uint32_t>(first.varint());
    if (first.field() == kStateUpdateComplete) {
      head->complete = static_cast<uint32_t>(first.varint());
    }
  }
  if (first.failed()) return false;
  PbReader in(bytes);
  while (in.next()) {
    if (in.field() != kStateUpdateEntries) continue;
    StateEntry entry;
    if (!in.is(WireType::kBytes) || !decode(in.bytes(), &entry)) return false;
    visit(entry);
  }
  return true;
}

}  // namespace tidegate::wire
