// SPDX-License-Identifier: Apache-2.0
// Name of a grid cell on the x,z plane (y is up) and which shard owns it by the rule.
// Thread: any. Owner: values. Limits: 65,536 cells on each axis.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>

#include "base/ids.h"

namespace tidegate::world {

struct CellKey {
  int16_t x = 0;
  int16_t z = 0;
  constexpr auto operator<=>(const CellKey&) const = default;
  constexpr uint32_t packed() const {
    return static_cast<uint32_t>(static_cast<uint16_t>(x)) << 16 | static_cast<uint16_t>(z);
  }
  static constexpr CellKey from_packed(uint32_t v) {
    return {static_cast<int16_t>(v >> 16), static_cast<int16_t>(v & 0xffff)};
  }
};

constexpr int64_t square(int64_t v) { return v * v; }

// Squared distance from a point to the square of a cell, steps.
constexpr int64_t distance_squared(CellKey key, int32_t cell_steps, int32_t x, int32_t z) {
  const int64_t low_x = int64_t{key.x} * cell_steps;
  const int64_t low_z = int64_t{key.z} * cell_steps;
  const int64_t dx = std::max<int64_t>({0, low_x - x, x - (low_x + cell_steps - 1)});
  const int64_t dz = std::max<int64_t>({0, low_z - z, z - (low_z + cell_steps - 1)});
  return square(dx) + square(dz);
}

// Well mixed 32 bits (finaliser of MurmurHash3, Appleby, public domain).
constexpr uint32_t mix32(uint32_t h) {
  h ^= h >> 16;
  h *= 0x85ebca6bu;
  h ^= h >> 13;
  h *= 0xc2b2ae35u;
  return h ^ (h >> 16);
}

// Owner of a cell that was not moved (owner_map.h): blocks of 2 x 2 cells are dealt out by hash, so
// that walking rarely changes the owner and a busy quarter is spread. A pure function, equal on all
// shards. shard_count > 0.
constexpr base::ShardId owner_of(CellKey key, uint32_t shard_count) {
  const CellKey block{static_cast<int16_t>(key.x >> 1), static_cast<int16_t>(key.z >> 1)};
  return {static_cast<uint16_t>(
      static_cast<uint64_t>(mix32(block.packed() + 0x9e3779b9u)) * shard_count >> 32)};
}

}  // namespace tidegate::world
