// SPDX-License-Identifier: Apache-2.0
// Plain structs one behind the other in memory that one shard writes and another reads: how a cell
// with all that belongs to it goes from owner to owner. Both ends are this program, so what does
// not fit is our own mistake. Thread: written by one shard, read by another behind the barrier.
// Owner: the writer's slice. Limits: the memory given.
#pragma once

#include <cstring>
#include <type_traits>

#include "base/assert.h"
#include "base/bytes.h"

namespace tidegate::world {

class MoveWriter {
 public:
  explicit MoveWriter(base::MutableBytes memory) : memory_(memory) {}

  template <class T>
  void put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    put_bytes({reinterpret_cast<const uint8_t*>(&value), sizeof value});
  }
  void put_bytes(base::Bytes bytes) {
    TG_ASSERT(bytes.size() <= memory_.size() - used_);
    if (!bytes.empty()) std::memcpy(memory_.data() + used_, bytes.data(), bytes.size());
    used_ += bytes.size();
  }
  size_t used() const { return used_; }
  base::Bytes since(size_t from) const { return memory_.subspan(from, used_ - from); }

 private:
  base::MutableBytes memory_;
  size_t used_ = 0;
};

class MoveReader {
 public:
  explicit MoveReader(base::Bytes bytes) : rest_(bytes) {}

  template <class T>
  T get() {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    std::memcpy(static_cast<void*>(&value), get_bytes(sizeof value).data(), sizeof value);
    return value;
  }
  base::Bytes get_bytes(size_t n) {
    TG_ASSERT(n <= rest_.size());
    const base::Bytes bytes = rest_.first(n);
    rest_ = rest_.subspan(n);
    return bytes;
  }
  bool empty() const { return rest_.empty(); }

 private:
  base::Bytes rest_;
};

}  // namespace tidegate::world
