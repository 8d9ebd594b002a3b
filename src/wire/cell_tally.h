// SPDX-License-Identifier: Apache-2.0
// Where the bits of cell frames are: a decoder that is given a tally adds each part it reads.
// Thread: any. Owner: who measures. Limits: none.
#pragma once

#include <cstdint>

namespace tidegate::wire {

// name of the part, as tables print it
#define TG_CELL_PARTS(X)                \
  X(kHeader, "cell header")             \
  X(kChecksum, "checksum")              \
  X(kKeyframe, "keyframe members")      \
  X(kTracks, "tracks")                  \
  X(kLeave, "leaves")                   \
  X(kEnterIdentity, "enters: id, name") \
  X(kEnterState, "enters: state")       \
  X(kCounts, "counts and orders")       \
  X(kGap, "slots")                      \
  X(kForm, "what changed")              \
  X(kPlace, "place")                    \
  X(kHeight, "height")                  \
  X(kYaw, "yaw")                        \
  X(kFlags, "flags")                    \
  X(kFill, "filling")

enum class CellPart : uint8_t {
#define TG_X(name, text) name,
  TG_CELL_PARTS(TG_X)
#undef TG_X
      kCount
};
inline constexpr const char* kCellPartNames[] = {
#define TG_X(name, text) text,
    TG_CELL_PARTS(TG_X)
#undef TG_X
};

struct CellTally {
  uint64_t bits[static_cast<uint32_t>(CellPart::kCount)] = {};
  uint64_t keyframes = 0, tracks = 0, deltas[4] = {}, changes[4] = {}, delta_bits[4] = {};
  uint64_t keyframe_members = 0, leaves = 0, enters = 0;
};

}  // namespace tidegate::wire
