// SPDX-License-Identifier: Apache-2.0
// Which gateway of several is the home of a name: the one whose hash together with the name's is
// the highest. Everybody who knows the same members chooses the same one, and a member that comes
// or goes moves only the names that become its own or were. Thread: any. Owner: values. Limits:
// none.
#pragma once

#include <cstdint>
#include <string_view>

namespace tidegate::bus {

// Of a gateway's name, and of a topic's or a user's: the same on every machine.
constexpr uint64_t hash_text(std::string_view text) {
  uint64_t h = 0xcbf29ce484222325u;  // FNV-1a; mixed below, where it is used
  for (const char c : text) h = (h ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  return h;
}

constexpr uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

constexpr uint64_t weight(uint64_t name_hash, uint64_t gateway) {
  return mix(name_hash + 0x9e3779b97f4a7c15u * mix(gateway));
}

// Index into `members`, which have an `id`; they must not be empty.
template <class Members>
constexpr uint32_t home_among(const Members& members, uint32_t count, uint64_t name_hash) {
  uint32_t best = 0;
  uint64_t best_weight = weight(name_hash, members[0].id);
  for (uint32_t i = 1; i < count; ++i) {
    const uint64_t w = weight(name_hash, members[i].id);
    if (w > best_weight || (w == best_weight && members[i].id > members[best].id)) {
      best = i;
      best_weight = w;
    }
  }
  return best;
}

}  // namespace tidegate::bus
