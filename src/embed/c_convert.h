// SPDX-License-Identifier: Apache-2.0
// Values of the C API to and from those of the C++ API. Handles are the C++ objects by another
// name: tidegate_server is Server, tidegate_context is Context, tidegate_world is World.
//
// Thread: any. Owner: values. Limits: none.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

#include "base/c_structs.h"
#include "tidegate/server.h"
#include "tidegate/tidegate.h"

namespace tidegate::embed {

using base::give_struct;
using base::take_struct;

inline Server& server_of(tidegate_server* s) { return *reinterpret_cast<Server*>(s); }
inline const Server& server_of(const tidegate_server* s) {
  return *reinterpret_cast<const Server*>(s);
}
inline Context& context_of(tidegate_context* c) { return *reinterpret_cast<Context*>(c); }
inline const Context& context_of(const tidegate_context* c) {
  return *reinterpret_cast<const Context*>(c);
}
inline World& world_of(tidegate_world* w) { return *reinterpret_cast<World*>(w); }
inline const World& world_of(const tidegate_world* w) { return *reinterpret_cast<const World*>(w); }

inline tidegate_text text_of(std::string_view t) { return {t.data(), t.size()}; }
inline std::string_view view_of(tidegate_text t) {
  return t.data == nullptr ? std::string_view() : std::string_view(t.data, t.size);
}
inline std::string string_of(const char* text) { return text == nullptr ? "" : text; }
inline tidegate_bytes bytes_of(Bytes b) { return {b.data, b.size}; }
inline Bytes view_of(tidegate_bytes b) { return {b.data, b.data == nullptr ? 0 : b.size}; }
inline tidegate_vector vector_of(const Position& p) { return {p.x, p.y, p.z}; }
inline tidegate_vector vector_of(const Velocity& v) { return {v.x, v.y, v.z}; }
inline Position position_of(const tidegate_vector& v) { return {v.x, v.y, v.z}; }
inline Velocity velocity_of(const tidegate_vector& v) { return {v.x, v.y, v.z}; }
// 255 is no priority, and is refused as such.
inline uint8_t priority_of(uint32_t p) { return p > 255 ? uint8_t{255} : static_cast<uint8_t>(p); }

inline tidegate_entity entity_of(const EntityView& e) {
  return {sizeof(tidegate_entity),
          e.ref.id,
          static_cast<uint32_t>(e.kind),
          text_of(e.id),
          vector_of(e.position),
          vector_of(e.velocity),
          e.yaw,
          e.flags,
          e.tag};
}

inline tidegate_code report(tidegate_error* out, tidegate_code code, std::string_view key,
                            std::string_view text) {
  tidegate_error e{};
  e.code = code;
  std::snprintf(e.key, sizeof e.key, "%.*s", static_cast<int>(key.size()), key.data());
  std::snprintf(e.text, sizeof e.text, "%.*s", static_cast<int>(text.size()), text.data());
  give_struct(e, out);
  return code;
}

inline tidegate_code report(tidegate_error* out, const Status& status) {
  if (status) return TIDEGATE_OK;
  return report(out, static_cast<tidegate_code>(status.code()), status.problems().front().key,
                status.text());
}

inline tidegate_code bad_struct(tidegate_error* out) {
  return report(out, TIDEGATE_STRUCT_SIZE, {}, "a struct's struct_size does not fit");
}

// Runs what may allocate; no exception leaves it.
template <class Function>
tidegate_code contained(tidegate_error* out, Function&& function) noexcept {
#if defined(__cpp_exceptions)
  try {
    return function();
  } catch (const std::exception& e) {
    return report(out, TIDEGATE_INTERNAL, {}, e.what());
  } catch (...) {
    return report(out, TIDEGATE_INTERNAL, {}, "not a std::exception");
  }
#else
  (void)out;
  return function();
#endif
}

}  // namespace tidegate::embed
