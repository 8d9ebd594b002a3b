// SPDX-License-Identifier: Apache-2.0
// The library's own values as those of the C interface, and the other way. Of client*.cc alone.
// Thread: any. Owner: borrows. Limits: none.
#pragma once

#include <string_view>

#include "base/bytes.h"
#include "sdk/prediction.h"
#include "tidegate/client.h"
#include "wire/messages.h"

namespace tidegate::sdk {

inline tidegate_text text_of(std::string_view text) { return {text.data(), text.size()}; }
inline tidegate_bytes bytes_of(base::Bytes bytes) { return {bytes.data(), bytes.size()}; }
inline tidegate_vector vector_of(double x, double y, double z) {
  return {static_cast<float>(x), static_cast<float>(y), static_cast<float>(z)};
}
inline Vec vec_of(const wire::Vector3& v) {
  return {static_cast<double>(v.x), static_cast<double>(v.y), static_cast<double>(v.z)};
}
inline wire::Vector3 wire_of(const Vec& v) {
  return {static_cast<float>(v.x), static_cast<float>(v.y), static_cast<float>(v.z)};
}
inline tidegate_client_event event_of(int32_t kind) {
  tidegate_client_event event{};
  event.struct_size = sizeof event;
  event.kind = kind;
  return event;
}

}  // namespace tidegate::sdk
