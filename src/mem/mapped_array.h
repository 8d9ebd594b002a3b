// SPDX-License-Identifier: Apache-2.0
// Array of a size known at start-up, of types for which all-zero bytes are a value or whose default
// member values are set here. Comes from anonymous pages: what is never used is never touched, so
// limits may be generous.
// Thread: as its owner. Owner: holds the mapping. Limits: without address space
// out_of_memory.h, which only happens at start-up.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "mem/out_of_memory.h"

namespace tidegate::mem {

template <class T>
class MappedArray {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  explicit MappedArray(size_t count) : count_(count) {
    const size_t size = bytes() == 0 ? 1 : bytes();
    void* p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) out_of_memory();
    data_ = static_cast<T*>(p);
  }
  ~MappedArray() {
    if (data_ != nullptr) munmap(static_cast<void*>(data_), bytes() == 0 ? 1 : bytes());
  }
  MappedArray(const MappedArray&) = delete;
  MappedArray& operator=(const MappedArray&) = delete;

  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return count_; }
  size_t bytes() const { return count_ * sizeof(T); }

 private:
  T* data_ = nullptr;
  size_t count_;
};

}  // namespace tidegate::mem
