// SPDX-License-Identifier: Apache-2.0
// What the writer and the reader of cell frames must have alike. Layout (docs/protocol.md):
//   byte 0: 1 keyframe, 2 drop, both: tracks, 4 checksum, 8..16 layer, 32 anchor, 64 epoch, 128
//   further part
//   varints: zigzag cell x, zigzag cell z, epoch with its bit; frame: varint in keyframes, drops
//   and tracks, else the low byte; frame - reference: varint in layers 0 to 2 unless a further
//   part; checksum u64 LE with its bit member: gap g(3) from the slot before, kind 2 bits, id
//   g(12), name length 7 bits and its bytes
//           (127: a UUID of 128 bits), x and z sg(11), y sg(6), yaw 8 bits, flags, age 4 bits,
//           speed x, y, z sg(6), 1 bit: has offsets, then 5 bits each, 1 bit: has a pace, then x,
//           y, z sg(4)
//   flags: 1 bit wide, then 32 bits when it is set, 8 otherwise
//   keyframe: count g(4), members
//   delta: 1 bit: membership changed; if so leaves g(0): gap g(3), 1 bit to another cell and then
//          dx, dz sg(0) from this cell; enters g(0): members
//          changes g(3); unless 0: slots; 1 bit: all alike; usual form 4 bits; order of places 3
//          bits; order of yaws 3 bits; changes
//   tracks: factor 4 bits, order 3 bits; for each member of the anchor age 4 bits, 1 bit: it moves;
//           if so x, z: speed - factor * pace sg(order), offset 5 bits each; 1 bit: it climbs; if
//           so the same of y
//   slots: period 3 bits (layer 3 only, else 0); 0: order 3 bits, gaps. Otherwise: members due that
//   did not change g(0),
//          unless 0 order 3 bits and gaps in the list of those due; changes that were not due
//          (their number follows), unless 0 order 3 bits and gaps
//   change: unless alike 1 bit usual form, otherwise 4 bits: moved, y, yaw, flags; moved: x, z
//   sg(order), with y
//           also sg(order); yaw: sg(order) of the difference; flags
// g(k): exp-Golomb of order k; sg(k): the same of the zigzag value; a gap is slot - previous - 1,
// the first one counts from -1.
// Thread: any. Owner: none. Limits: none.
#pragma once

#include <cstdint>

namespace tidegate::wire {

enum CellHeaderBit : uint8_t {
  kKeyframeBit = 1,
  kDropBit = 2,
  kChecksumBit = 4,
  kLayerShift = 3,
  kAnchorBit = 32,
  kEpochBit = 64,
  kPartBit = 128
};
enum CellForm : uint32_t { kFormMoved = 1, kFormHeight = 2, kFormYaw = 4, kFormFlags = 8 };

inline constexpr uint32_t kGapOrder = 3;
inline constexpr uint32_t kIdOrder = 12;
inline constexpr uint32_t kPlaceOrder = 11;
inline constexpr uint32_t kHeightOrder = 6;
inline constexpr uint32_t kSpeedOrder = 6;
inline constexpr uint32_t kOffsetBits = 5;
inline constexpr uint32_t kPaceOrder = 4;
inline constexpr uint32_t kAgeBits = 4;
inline constexpr uint32_t kPeriodBits = 3;
inline constexpr uint32_t kOrderBits = 3;
inline constexpr uint32_t kFactorBits = 4;
inline constexpr uint32_t kFormBits = 4;
inline constexpr uint32_t kNameLengthBits = 7;
inline constexpr uint32_t kUuidName = 127;  // in place of the length
inline constexpr uint32_t kUuidBytes = 16;
inline constexpr uint32_t kUuidText = 36;
// Speed that tracks expect of a member.
inline constexpr int32_t expected_speed(int32_t pace, uint32_t factor) {
  return static_cast<int32_t>(static_cast<uint32_t>(pace) * factor);
}
// Digits of a UUID's text behind which there is a dash.
inline constexpr bool dash_before(uint32_t byte) {
  return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

}  // namespace tidegate::wire
