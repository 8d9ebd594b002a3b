// SPDX-License-Identifier: Apache-2.0
// Bytes of the game's own beside an entity's image: `custom` of EntitySpawn (the whole) and of
// EntityUpdate (what changed, when the game says so). Protobuf watchers get them; the packed stream
// does not carry them.
// Thread: shard. Owner: EntityTable. Limits: kCustomBytesMax for the whole and for a change.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/bytes.h"

namespace tidegate::world {

inline constexpr uint32_t kCustomBytesMax = 128;

struct Custom {
  enum Dirty : uint8_t {
    kClean = 0,  // watchers have `whole`
    kDelta = 1,  // they have what `delta` changes
    kWhole = 2,
  };
  uint8_t whole_bytes;
  uint8_t delta_bytes;
  uint8_t dirty;   // Dirty
  uint8_t marked;  // for the shard's use: in its list of entities to serialise
  uint8_t whole[kCustomBytesMax];
  uint8_t delta[kCustomBytesMax];

  base::Bytes state() const { return {whole, whole_bytes}; }
  // What an update carries.
  base::Bytes change() const {
    return dirty == kDelta ? base::Bytes(delta, delta_bytes) : base::Bytes(whole, whole_bytes);
  }
  // Whether a change since the last whole is of use: watchers have that one.
  bool told() const { return dirty == kClean && whole_bytes != 0; }
  void clear() { whole_bytes = delta_bytes = dirty = marked = 0; }
  // A new whole, and the change from the last one where the game has it (empty: none). Both are at
  // most kCustomBytesMax. An empty whole is not told: on the wire it is no state.
  void set(base::Bytes now, base::Bytes since) {
    dirty = now.empty() ? kClean : !since.empty() && told() ? kDelta : kWhole;
    whole_bytes = static_cast<uint8_t>(now.size());
    if (!now.empty()) std::memcpy(whole, now.data(), now.size());
    if (dirty != kDelta) return;
    delta_bytes = static_cast<uint8_t>(since.size());
    std::memcpy(delta, since.data(), since.size());
  }
};

}  // namespace tidegate::world
