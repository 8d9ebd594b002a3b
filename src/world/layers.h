// SPDX-License-Identifier: Apache-2.0
// When a cell's stream has a frame of which layer. Period of 8 ticks: layer 0 (the anchor) at phase
// 0, layer 1 at 4, layer 2 at 2 and 6; layer 3 is a plain chain of every tick with a change. A
// reader's level says what it gets: 0, 1, 2 the layers up to that (an eighth, a quarter, half of
// the tick rate), 3 the chain. Blocks of 4 x 4 cells share a phase, so that what a watcher of lower
// levels gets comes in few ticks and not a cell in each; the phases of blocks are spread by hash,
// so that anchors do not fall into one tick. docs/decisions/0006-layers.md. Thread: any. Owner:
// values. Limits: none.
#pragma once

#include <cstdint>

#include "world/cell_key.h"

namespace tidegate::world {

inline constexpr uint32_t kLayerPeriod = 8;
inline constexpr uint32_t kLevels = 4;
inline constexpr uint8_t kFullLevel = 3;
inline constexpr uint8_t kNoLayer = 0xff;

// The origin, where worlds like to gather, lies inside a block and not at the corner of four.
constexpr CellKey block_of(CellKey key) {
  return {static_cast<int16_t>((key.x + 2) >> 2), static_cast<int16_t>((key.z + 2) >> 2)};
}
constexpr uint32_t layer_phase(CellKey key, uint32_t tick) {
  return (tick + mix32(block_of(key).packed() ^ 0x6a09e667u)) % kLayerPeriod;
}
constexpr uint8_t layer_of_phase(uint32_t phase) {
  return phase == 0 ? 0 : phase == kLayerPeriod / 2 ? 1 : phase % 2 == 0 ? 2 : kNoLayer;
}
constexpr bool is_anchor(CellKey key, uint32_t tick) { return layer_phase(key, tick) == 0; }

// Levels that get a frame of `layer` (0..2), as bits.
constexpr uint8_t levels_of_layer(uint8_t layer) { return static_cast<uint8_t>(7u << layer & 7u); }

// Frame numbers wrap.
constexpr bool is_after(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) > 0; }

}  // namespace tidegate::world
