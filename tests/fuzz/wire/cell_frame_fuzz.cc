// SPDX-License-Identifier: Apache-2.0
// Packed cell frames from a peer: the input is cut into payloads (a length byte in front of each)
// and applied to an image that already holds a keyframe, so that deltas reach the members. The
// image must stay within its limits, count right, and take a keyframe after whatever happened.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "wire/cell_codec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tidegate;
  wire::CellMember members[8];
  for (uint16_t i = 0; i < 8; ++i) {
    members[i].slot = static_cast<uint16_t>(i * 3);
    members[i].id = i + 1U;
    members[i].x = 100 * i;
    members[i].track[0].speed = i;
    members[i].name = "walker";
  }
  wire::CellFrameHeader head;
  head.keyframe = true;
  uint8_t buffer[512];
  const size_t bytes = wire::write_cell_keyframe(buffer, head, members);
  wire::CellImage image;
  if (bytes == 0 || image.apply({buffer, bytes}, 0) != wire::CellStatus::kOk) std::abort();
  for (size_t at = 0; at < size;) {
    const size_t left = size - at - 1;
    const size_t piece = data[at] < left ? data[at] : left;
    static_cast<void>(image.apply({data + at + 1, piece}, static_cast<uint32_t>(at)));
    at += piece + 1;
    uint32_t live = 0;
    for (const auto& member : image.slots()) live += member.live ? 1 : 0;
    if (image.slots().size() > wire::kCellSlotsMax || live != image.count()) std::abort();
  }
  if (image.apply({buffer, bytes}, 0) != wire::CellStatus::kOk || image.count() != 8) std::abort();
  return 0;
}
