// SPDX-License-Identifier: Apache-2.0
// The edge of a watcher's circle when budget or crowd cut it.
// Thread: any. Owner: none. Limits: none.
#pragma once

#include <cstdint>

namespace tidegate::world {

// A cell joins a circle that is cut when it lies within by so much of a cell's edge; it stays until
// it lies outside. So a circle that is cut is only seen whole up to there.
inline constexpr int32_t kReachMarginDivisor = 8;

}  // namespace tidegate::world
