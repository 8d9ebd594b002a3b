// SPDX-License-Identifier: Apache-2.0
// The C API's server, handlers and their contexts.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>

#include "embed/c_convert.h"

using namespace tidegate;
using namespace tidegate::embed;

static_assert(TIDEGATE_CONFIG == static_cast<int>(Code::kConfig) &&
              TIDEGATE_NOT_RUNNING == static_cast<int>(Code::kNotRunning));
static_assert(TIDEGATE_SEND_RANGE == static_cast<int>(SendResult::kRange));
static_assert(TIDEGATE_FAILED == static_cast<int>(Outcome::kFailed));

namespace {

tidegate_sent sent(SendResult result) { return static_cast<tidegate_sent>(result); }

tidegate_code missing(tidegate_error* error, const char* what) {
  return report(error, TIDEGATE_MISSING, {}, what);
}

}  // namespace

uint32_t tidegate_abi_version(void) { return TIDEGATE_ABI_VERSION; }

tidegate_code tidegate_server_create(const tidegate_config* config, tidegate_server** out,
                                     tidegate_error* error) {
  if (out == nullptr) return missing(error, "no place for the server was given");
  *out = nullptr;
  tidegate_config c;
  if (!take_struct(config, &c)) return bad_struct(error);
  return contained(error, [&] {
    ServerConfig from;
    from.file = string_of(c.file);
    from.text = string_of(c.text);
    for (size_t i = 0; c.settings != nullptr && i < c.setting_count; ++i) {
      from.settings.push_back({string_of(c.settings[i].key), string_of(c.settings[i].value)});
    }
    if (c.log != nullptr) {
      from.log = [log = c.log, user = c.user](LogLevel level, std::string_view text) {
        log(user, static_cast<int32_t>(level), text_of(text));
      };
    }
    Server::Created made = Server::create(std::move(from));
    if (!made.server) return report(error, made.status);
    *out = reinterpret_cast<tidegate_server*>(made.server.release());
    return TIDEGATE_OK;
  });
}

void tidegate_server_destroy(tidegate_server* server) {
  contained(nullptr, [&] {
    delete reinterpret_cast<Server*>(server);
    return TIDEGATE_OK;
  });
}

tidegate_code tidegate_server_start(tidegate_server* server, tidegate_error* error) {
  return contained(error, [&] { return report(error, server_of(server).start()); });
}

void tidegate_server_stop(tidegate_server* server, uint32_t grace_ms) {
  contained(nullptr, [&] {
    server_of(server).stop(std::chrono::milliseconds(grace_ms));
    return TIDEGATE_OK;
  });
}

tidegate_code tidegate_server_run(tidegate_server* server, uint32_t grace_ms,
                                  tidegate_error* error) {
  return contained(error, [&] {
    return report(error, server_of(server).run(std::chrono::milliseconds(grace_ms)));
  });
}

void tidegate_server_request_stop(tidegate_server* server) { server_of(server).request_stop(); }

int32_t tidegate_server_running(const tidegate_server* server) {
  return server_of(server).running() ? 1 : 0;
}
uint16_t tidegate_server_port(const tidegate_server* server) { return server_of(server).port(); }
uint16_t tidegate_server_admin_port(const tidegate_server* server) {
  return server_of(server).admin_port();
}

size_t tidegate_server_metrics(const tidegate_server* server, char* out, size_t room) {
  size_t size = 0;
  contained(nullptr, [&] {
    const std::string text = server_of(server).metrics();
    size = text.size();
    if (out != nullptr) std::memcpy(out, text.data(), std::min(size, room));
    return TIDEGATE_OK;
  });
  return size;
}

tidegate_code tidegate_server_set_environment(tidegate_server* server,
                                              const tidegate_environment* environment,
                                              tidegate_error* error) {
  tidegate_environment e;
  if (!take_struct(environment, &e)) return bad_struct(error);
  return contained(error, [&] {
    Environment to;
    to.time_of_day = e.time_of_day;
    to.weather = string_of(e.weather);
    for (size_t i = 0; e.properties != nullptr && i < e.property_count; ++i) {
      to.properties.emplace_back(string_of(e.properties[i].key), string_of(e.properties[i].value));
    }
    return report(error, server_of(server).set_environment(to));
  });
}

tidegate_code tidegate_server_handle(tidegate_server* server, const tidegate_handler* handler,
                                     tidegate_error* error) {
  tidegate_handler h;
  if (!take_struct(handler, &h)) return bad_struct(error);
  return contained(error, [&] {
    Handler to;
    to.type = h.type;
    to.name = string_of(h.name);
    to.priority = priority_of(h.priority);
    to.compress = h.compress != 0;
    if (h.function != nullptr) {
      to.function = [function = h.function, user = h.user](Context& context, const Message& m) {
        const tidegate_message message{sizeof(tidegate_message), m.type,     m.priority,
                                       bytes_of(m.payload),      m.sequence, m.timestamp};
        const int32_t outcome =
            function(user, reinterpret_cast<tidegate_context*>(&context), &message);
        return outcome >= 0 && outcome < TIDEGATE_FAILED ? static_cast<Outcome>(outcome)
                                                         : Outcome::kFailed;
      };
    }
    if (h.schema != nullptr) {
      to.schema = [schema = h.schema, user = h.user](Bytes payload) {
        return schema(user, bytes_of(payload)) != 0;
      };
    }
    return report(error, server_of(server).handle(std::move(to)));
  });
}

// ---- context ----

tidegate_text tidegate_context_player_id(const tidegate_context* context) {
  return text_of(context_of(context).player_id());
}
tidegate_text tidegate_context_user_id(const tidegate_context* context) {
  return text_of(context_of(context).user_id());
}
tidegate_text tidegate_context_permissions(const tidegate_context* context) {
  return text_of(context_of(context).permissions());
}
uint32_t tidegate_context_tick(const tidegate_context* context) {
  return context_of(context).tick();
}
uint32_t tidegate_context_shard(const tidegate_context* context) {
  return context_of(context).shard();
}
int32_t tidegate_context_in_world(const tidegate_context* context) {
  return context_of(context).in_world() ? 1 : 0;
}
tidegate_vector tidegate_context_position(const tidegate_context* context) {
  return vector_of(context_of(context).position());
}
tidegate_sent tidegate_context_reply(tidegate_context* context, uint32_t type,
                                     tidegate_bytes payload) {
  return sent(context_of(context).reply(type, view_of(payload)));
}
tidegate_sent tidegate_context_answer(tidegate_context* context, uint32_t code,
                                      tidegate_text message) {
  return sent(context_of(context).answer(code, view_of(message)));
}
tidegate_sent tidegate_context_send_to_player(tidegate_context* context, tidegate_text player_id,
                                              uint32_t type, tidegate_bytes payload) {
  return sent(context_of(context).send_to_player(view_of(player_id), type, view_of(payload)));
}
tidegate_sent tidegate_context_send_acknowledged(tidegate_context* context, tidegate_text player_id,
                                                 uint32_t type, tidegate_bytes payload) {
  return sent(context_of(context).send_acknowledged(view_of(player_id), type, view_of(payload)));
}
tidegate_sent tidegate_context_send_to_nearby(tidegate_context* context, float radius,
                                              uint32_t type, tidegate_bytes payload) {
  return sent(context_of(context).send_to_nearby(radius, type, view_of(payload)));
}
tidegate_sent tidegate_context_disconnect(tidegate_context* context, uint16_t code,
                                          tidegate_text reason) {
  return sent(context_of(context).disconnect(code, view_of(reason)));
}
tidegate_sent tidegate_context_set_view_distance(tidegate_context* context, float metres) {
  return sent(context_of(context).set_view_distance(metres));
}
tidegate_sent tidegate_context_mark_state(tidegate_context* context) {
  return sent(context_of(context).mark_state());
}
