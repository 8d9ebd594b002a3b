// SPDX-License-Identifier: Apache-2.0
// Byte spans and unaligned loads and stores in both byte orders.
// Thread: any. Owner: borrows. Limits: the caller checks bounds.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace tidegate::base {

using Bytes = std::span<const uint8_t>;  // borrowed, read only
using MutableBytes = std::span<uint8_t>;

inline Bytes as_bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

template <class T>
inline T load_le(const uint8_t* p) {
  static_assert(std::endian::native == std::endian::little);
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class T>
inline void store_le(uint8_t* p, T v) {
  std::memcpy(p, &v, sizeof v);
}
inline uint16_t load_be16(const uint8_t* p) { return __builtin_bswap16(load_le<uint16_t>(p)); }
inline uint32_t load_be32(const uint8_t* p) { return __builtin_bswap32(load_le<uint32_t>(p)); }
inline uint64_t load_be64(const uint8_t* p) { return __builtin_bswap64(load_le<uint64_t>(p)); }
inline void store_be16(uint8_t* p, uint16_t v) { store_le(p, __builtin_bswap16(v)); }
inline void store_be32(uint8_t* p, uint32_t v) { store_le(p, __builtin_bswap32(v)); }
inline void store_be64(uint8_t* p, uint64_t v) { store_le(p, __builtin_bswap64(v)); }

}  // namespace tidegate::base
