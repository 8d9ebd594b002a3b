// SPDX-License-Identifier: Apache-2.0
// Structs of the C APIs between versions: each begins with its size.
//
// Thread: any. Owner: values. Limits: structs of at most kStructBytesMax from callers.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace tidegate::base {

inline constexpr size_t kStructBytesMax = 4096;

// Takes what the caller has of a T; the rest is zero. False: null, a size that is none, or fields
// from a later version that say something.
template <class T>
bool take_struct(const T* in, T* out) {
  static_assert(std::is_trivially_copyable_v<T> && offsetof(T, struct_size) == 0);
  if (in == nullptr) return false;
  const size_t size = in->struct_size;
  if (size < sizeof(size_t) || size > kStructBytesMax) return false;
  const auto* bytes = reinterpret_cast<const uint8_t*>(in);
  if (size > sizeof(T) &&
      std::any_of(bytes + sizeof(T), bytes + size, [](uint8_t b) { return b != 0; })) {
    return false;
  }
  *out = T{};
  std::memcpy(out, in, std::min(size, sizeof(T)));
  return true;
}

// Gives the caller as much of a T as it has room for; its struct_size stays. False: no size.
template <class T>
bool give_struct(const T& from, T* out) {
  static_assert(std::is_trivially_copyable_v<T> && offsetof(T, struct_size) == 0);
  if (out == nullptr || out->struct_size < sizeof(size_t)) return false;
  const size_t size = out->struct_size;
  std::memcpy(out, &from, std::min(size, sizeof(T)));
  out->struct_size = size;
  return true;
}

}  // namespace tidegate::base
