// SPDX-License-Identifier: Apache-2.0
// Player ids of 1..64 bytes in four size classes, so that short names cost little and freeing one
// never fragments. Each class is sized for the worst case in address space only; pages that are
// not used are not touched.
// Thread: as its owner. Owner: holds the bytes. Limits: `limit` names at a time.
#pragma once

#include <cstdint>
#include <string_view>

#include "mem/mapped_array.h"

namespace tidegate::world {

struct NameRef {
  uint32_t offset = 0;  // in the slab
  uint32_t length = 0;  // bytes; the class follows from it
};

class NameSlab {
 public:
  explicit NameSlab(uint32_t limit);

  // 1 <= name.size() <= kPlayerIdBytesMax, fewer than `limit` names live.
  NameRef add(std::string_view name);
  void remove(NameRef name);
  // Valid until the name is removed.
  std::string_view view(NameRef name) const {
    return {reinterpret_cast<const char*>(bytes_.data()) + name.offset, name.length};
  }
  size_t bytes() const { return bytes_.bytes(); }

 private:
  static constexpr uint32_t kClasses = 4;
  static constexpr uint32_t kClassBytes[kClasses] = {16, 24, 40, 64};
  static uint32_t class_of(uint32_t length) {
    return length <= 16 ? 0 : length <= 24 ? 1 : length <= 40 ? 2 : 3;
  }

  mem::MappedArray<uint8_t> bytes_;
  uint32_t next_[kClasses];  // first byte of the class never used
  uint32_t end_[kClasses];
  uint32_t free_[kClasses];  // freed places, linked through their first 4 bytes; none: UINT32_MAX
};

}  // namespace tidegate::world
