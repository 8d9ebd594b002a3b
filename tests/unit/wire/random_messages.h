// SPDX-License-Identifier: Apache-2.0
// Random protobuf messages and the comparison of wire structs with libprotobuf's objects, for the
// parity tests. Strings mix ASCII with every UTF-8 length; numbers mix small, huge and zero.
#pragma once

#include <bit>
#include <string>
#include <vector>

#include "base/prng.h"
#include "tidegate/v1/envelope.pb.h"
#include "tidegate/v1/presence.pb.h"
#include "tidegate/v1/session.pb.h"
#include "tidegate/v1/social.pb.h"
#include "tidegate/v1/state.pb.h"
#include "tidegate/v1/world.pb.h"
#include "wire/event_messages.h"
#include "wire/messages.h"
#include "wire/state_messages.h"

namespace tidegate::wire {

namespace pb = ::tidegate::v1;

inline std::string random_text(base::Prng& prng, size_t most) {
  static const char* const kPieces[] = {
      "a", "Z", "_", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x8c\x8a"};
  std::string text;
  for (uint64_t n = prng.below(most + 1); n > 0; --n) text += kPieces[prng.below(6)];
  return text;
}
inline uint64_t random_u64(base::Prng& prng) { return prng.next() >> prng.below(65 - 1); }
inline uint32_t random_u32(base::Prng& prng) {
  return prng.chance(0.2) ? 0 : static_cast<uint32_t>(random_u64(prng));
}
inline int64_t random_i64(base::Prng& prng) {
  return prng.chance(0.2) ? 0 : static_cast<int64_t>(random_u64(prng));
}
inline float random_float(base::Prng& prng) {
  switch (prng.below(4)) {
    case 0:
      return 0.0F;
    case 1:
      return -0.0F;
    case 2:
      return static_cast<float>(prng.between(-4000, 4000)) * 0.02F;
    default:
      return std::bit_cast<float>(static_cast<uint32_t>(prng.next()));
  }
}
inline void fill(base::Prng& prng, pb::Vector3* v) {
  v->set_x(random_float(prng));
  v->set_y(random_float(prng));
  v->set_z(random_float(prng));
}
inline void fill(base::Prng& prng, pb::Quaternion* q) {
  q->set_x(random_float(prng));
  q->set_y(random_float(prng));
  q->set_z(random_float(prng));
  q->set_w(random_float(prng));
}

inline bool same(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}
inline bool same(const Vector3& a, const pb::Vector3& b) {
  return same(a.x, b.x()) && same(a.y, b.y()) && same(a.z, b.z());
}
inline bool same(const Quaternion& a, const pb::Quaternion& b) {
  return same(a.x, b.x()) && same(a.y, b.y()) && same(a.z, b.z()) && same(a.w, b.w());
}

inline base::Bytes bytes_of(const std::string& text) { return base::as_bytes(text); }

// Flips, cuts, doubles and splices bytes.
inline std::string mutate(base::Prng& prng, std::string bytes) {
  for (uint64_t n = 1 + prng.below(4); n > 0; --n) {
    const size_t size = bytes.size();
    const size_t at = size == 0 ? 0 : prng.below(size);
    switch (prng.below(6)) {
      case 0:
        if (size != 0) bytes[at] = static_cast<char>(bytes[at] ^ 1 << prng.below(8));
        break;
      case 1:
        if (size != 0) bytes[at] = static_cast<char>(prng.next());
        break;
      case 2:
        bytes.resize(at);
        break;
      case 3:
        bytes.insert(at, 1 + prng.below(6), static_cast<char>(prng.next()));
        break;
      case 4:
        bytes += bytes.substr(at, prng.below(12));
        break;
      default:
        if (size != 0) bytes.erase(at, 1 + prng.below(3));
        break;
    }
  }
  return bytes;
}

}  // namespace tidegate::wire
