// SPDX-License-Identifier: Apache-2.0
// Reads a protobuf message whose fields are numbered 1, 2, 3… into variables of its fields' types.
// For decoders inside this module; a module-private header.
// Thread: any; plain functions. Owner: the caller; views point into the bytes. Limits: none of its
// own.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "wire/envelope.h"

namespace tidegate::wire::pb {

// Each returns false when the field has another wire type, or is text that is no UTF-8.
inline bool to(const PbReader& in, uint32_t* v) {
  *v = static_cast<uint32_t>(in.varint());
  return in.is(WireType::kVarint);
}
inline bool to(const PbReader& in, uint64_t* v) {
  *v = in.varint();
  return in.is(WireType::kVarint);
}
inline bool to(const PbReader& in, int64_t* v) {
  *v = static_cast<int64_t>(in.varint());
  return in.is(WireType::kVarint);
}
inline bool to(const PbReader& in, bool* v) {
  *v = in.varint() != 0;
  return in.is(WireType::kVarint);
}
inline bool to(const PbReader& in, float* v) {
  *v = in.number();
  return in.is(WireType::kFixed32);
}
inline bool to(const PbReader& in, std::string_view* v) {
  if (!in.is(WireType::kBytes)) return false;
  *v = in.text();
  return is_utf8(*v);
}
inline bool to(const PbReader& in, base::Bytes* v) {
  if (!in.is(WireType::kBytes)) return false;
  *v = in.bytes();
  return true;
}

// The n-th target takes field n; other fields are passed over. A target of another type needs a
// to(const PbReader&, const T*) in its own namespace.
template <class... Targets>
bool read_fields(base::Bytes bytes, Targets*... targets) {
  PbReader in(bytes);
  while (in.next()) {
    uint32_t number = 0;
    bool good = true;
    ((++number == in.field() ? void(good = to(in, targets)) : void()), ...);
    if (!good) return false;
  }
  return !in.failed();
}

}  // namespace tidegate::wire::pb
