// SPDX-License-Identifier: Apache-2.0
// Bump memory that is emptied as a whole, one mapping for its life.
// Thread: as its owner. Owner: holds the memory. Limits: the size given.
#pragma once

#include <cstdint>

#include "base/assert.h"
#include "mem/mapped_array.h"

namespace tidegate::mem {

class Arena {
 public:
  explicit Arena(size_t bytes) : data_(bytes) {}

  size_t available() const { return data_.size() - used_; }
  // Where the next bytes go; nothing is taken. There must be room for `bytes`.
  uint8_t* peek(size_t bytes) {
    TG_ASSERT(bytes <= available());
    return data_.data() + used_;
  }
  uint8_t* take(size_t bytes) {
    uint8_t* p = peek(bytes);
    used_ += bytes;
    return p;
  }
  void reset() { used_ = 0; }
  size_t used() const { return used_; }

 private:
  MappedArray<uint8_t> data_;
  size_t used_ = 0;
};

}  // namespace tidegate::mem
