// SPDX-License-Identifier: Apache-2.0
// Strong integer ids: values of different kinds do not mix.
// Thread: any. Owner: none. Limits: 32 or 64 bits by the tag's choice.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace tidegate::base {

template <class Tag, class Int = uint32_t>
struct Id {
  Int value = static_cast<Int>(-1);
  constexpr auto operator<=>(const Id&) const = default;
  static constexpr Id none() { return {}; }
  constexpr bool valid() const { return value != static_cast<Int>(-1); }
};

// Index of a shard in its process, 0-based.
struct ShardTag;
using ShardId = Id<ShardTag, uint16_t>;

// Slot and generation of a connection in its shard's table; stale handles are recognised.
struct ConnectionRef {
  uint32_t slot = UINT32_MAX;
  uint32_t generation = 0;
  constexpr auto operator<=>(const ConnectionRef&) const = default;
  constexpr bool valid() const { return slot != UINT32_MAX; }
};

// World-wide number of an entity while it lives in this process: upper 8 bits the shard that named
// it, lower 24 a counter of that shard. 0 is never used.
struct EntityTag;
using EntityId = Id<EntityTag, uint32_t>;

}  // namespace tidegate::base

template <class Tag, class Int>
struct std::hash<tidegate::base::Id<Tag, Int>> {
  size_t operator()(tidegate::base::Id<Tag, Int> id) const { return std::hash<Int>{}(id.value); }
};
