// SPDX-License-Identifier: Apache-2.0
// The C API of include/tidegate/client.h: tidegate_client is sdk::Client by another name. No
// exceptions are thrown or met here; out of memory ends the process, as operator new does without
// them.
#include <algorithm>
#include <cstring>
#include <new>
#include <string>

#include "base/c_structs.h"
#include "sdk/ability.h"
#include "sdk/client.h"
#include "sdk/overlay.h"
#include "tidegate/client.h"

namespace tidegate::sdk {
namespace {

Client& of(tidegate_client* c) { return *reinterpret_cast<Client*>(c); }
const Client& of(const tidegate_client* c) { return *reinterpret_cast<const Client*>(c); }

void say(const std::string& text, char* out, size_t room) {
  if (out == nullptr || room == 0) return;
  const size_t size = std::min(text.size(), room - 1);
  std::memcpy(out, text.data(), size);
  out[size] = 0;
}

}  // namespace
}  // namespace tidegate::sdk

using tidegate::base::give_struct;
using tidegate::base::take_struct;
using tidegate::sdk::Client;
using tidegate::sdk::of;

uint32_t tidegate_client_abi_version(void) { return TIDEGATE_CLIENT_ABI_VERSION; }

tidegate_client_result tidegate_client_create(const tidegate_client_config* config,
                                              tidegate_client** out, char* problem,
                                              size_t problem_room) {
  tidegate_client_config whole;
  tidegate_client_transport transport;
  if (out == nullptr) return TIDEGATE_CLIENT_INVALID;
  *out = nullptr;
  if (!take_struct(config, &whole) ||
      (whole.transport != nullptr && !take_struct(whole.transport, &transport))) {
    tidegate::sdk::say("a struct_size that is none, or unknown fields that are not zero", problem,
                       problem_room);
    return TIDEGATE_CLIENT_INVALID;
  }
  if (whole.transport != nullptr) whole.transport = &transport;
  std::string text;
  Client* const client = Client::create(whole, &text);
  if (client == nullptr) {
    tidegate::sdk::say(text, problem, problem_room);
    return text == "no memory" ? TIDEGATE_CLIENT_MEMORY : TIDEGATE_CLIENT_INVALID;
  }
  *out = reinterpret_cast<tidegate_client*>(client);
  return TIDEGATE_CLIENT_OK;
}

void tidegate_client_destroy(tidegate_client* client) {
  if (client != nullptr) of(client).destroy();
}

void tidegate_client_connect(tidegate_client* client) { of(client).connect(); }
void tidegate_client_disconnect(tidegate_client* client, const char* reason) {
  of(client).disconnect(reason != nullptr ? reason : "client leaves");
}
void tidegate_client_network_changed(tidegate_client* client) { of(client).network_changed(); }
tidegate_client_result tidegate_client_give_token(tidegate_client* client, uint32_t attempt,
                                                  const char* token) {
  return of(client).give_token(attempt, token) ? TIDEGATE_CLIENT_OK : TIDEGATE_CLIENT_DROPPED;
}
tidegate_client_result tidegate_client_poll(tidegate_client* client, uint32_t budget_us) {
  return of(client).poll(budget_us);
}
void tidegate_client_wait(tidegate_client* client, uint32_t most_ms) { of(client).wait(most_ms); }
tidegate_client_result tidegate_client_run(tidegate_client* client, uint32_t ms) {
  return of(client).run(ms);
}

tidegate_client_state tidegate_client_get_state(const tidegate_client* client) {
  return of(client).connection().state();
}
const char* tidegate_client_state_name(tidegate_client_state state) {
  static constexpr const char* kNames[] = {"closed",         "connecting",    "connected",
                                           "authenticating", "authenticated", "inWorld",
                                           "reconnecting"};
  const auto index = static_cast<uint32_t>(state);
  return index < std::size(kNames) ? kNames[index] : "unknown";
}
tidegate_text tidegate_client_player_id(const tidegate_client* client) {
  const std::string& id = of(client).player_id();
  return {id.data(), id.size()};
}

tidegate_client_result tidegate_client_send(tidegate_client* client, uint32_t type,
                                            const void* payload, size_t size,
                                            const tidegate_client_send_options* options) {
  tidegate_client_send_options whole{};
  if (options != nullptr && !take_struct(options, &whole)) return TIDEGATE_CLIENT_INVALID;
  if (payload == nullptr && size != 0) return TIDEGATE_CLIENT_INVALID;
  return of(client).send(type, {static_cast<const uint8_t*>(payload), size}, whole);
}
size_t tidegate_client_buffered(const tidegate_client* client) {
  return of(client).connection().link().buffered();
}
size_t tidegate_client_queued(const tidegate_client* client) {
  return of(client).connection().outbox().bytes();
}
tidegate_client_result tidegate_client_move(tidegate_client* client, tidegate_vector velocity,
                                            float yaw, uint32_t flags, float dt) {
  return of(client).move(velocity, yaw, flags, dt);
}
tidegate_client_result tidegate_client_steer(tidegate_client* client, tidegate_vector direction,
                                             float yaw, uint32_t flags, float dt) {
  return of(client).steer(direction, yaw, flags, dt);
}

int32_t tidegate_client_next(tidegate_client* client, uint32_t* cursor,
                             tidegate_client_entity* out) {
  tidegate_client_entity entity;
  if (!of(client).next_entity(cursor, &entity)) return 0;
  return give_struct(entity, out) ? 1 : 0;
}
int32_t tidegate_client_find(tidegate_client* client, tidegate_text id,
                             tidegate_client_entity* out) {
  tidegate_client_entity entity;
  if (!of(client).find_entity({id.data, id.size}, &entity)) return 0;
  return give_struct(entity, out) ? 1 : 0;
}
int32_t tidegate_client_next_state(const tidegate_client* client, uint32_t* cursor,
                                   tidegate_client_keyed_state* out) {
  tidegate_client_keyed_state state;
  if (!of(client).next_state(cursor, &state)) return 0;
  return give_struct(state, out) ? 1 : 0;
}
int32_t tidegate_client_find_state(const tidegate_client* client, uint32_t scope, tidegate_text key,
                                   tidegate_client_keyed_state* out) {
  tidegate_client_keyed_state state;
  if (!of(client).find_state(scope, {key.data, key.size}, &state)) return 0;
  return give_struct(state, out) ? 1 : 0;
}
tidegate_client_result tidegate_client_change_state(tidegate_client* client, uint32_t scope,
                                                    tidegate_text key, int32_t operation,
                                                    tidegate_bytes value, uint64_t base_version,
                                                    uint32_t* request) {
  if (scope > 3 || operation < TIDEGATE_STATE_OPERATION_SET ||
      operation > TIDEGATE_STATE_OPERATION_RELEASE || key.size == 0 || key.data == nullptr ||
      key.size > 64 || value.size > 256 || (value.data == nullptr && value.size != 0)) {
    return TIDEGATE_CLIENT_INVALID;
  }
  tidegate::wire::StateChange change;
  change.key = {key.data, key.size};
  change.value = {static_cast<const uint8_t*>(value.data), value.size};
  change.base_version = base_version;
  change.scope = scope;
  change.operation = static_cast<uint32_t>(operation);
  return of(client).change_state(change, request);
}
int32_t tidegate_client_self(tidegate_client* client, tidegate_vector* out) {
  return of(client).self(out) ? 1 : 0;
}
int32_t tidegate_client_server_time(const tidegate_client* client, double* unix_ms, double* tick) {
  return of(client).server_time(unix_ms, tick) ? 1 : 0;
}

uint32_t tidegate_client_listen(tidegate_client* client, int32_t kind,
                                tidegate_client_listener listener, void* user) {
  return of(client).listen(kind, listener, user);
}
void tidegate_client_unlisten(tidegate_client* client, uint32_t subscription) {
  of(client).unlisten(subscription);
}

namespace {
tidegate::sdk::Abilities& of(tidegate_client_abilities* a) {
  return *reinterpret_cast<tidegate::sdk::Abilities*>(a);
}
const tidegate::sdk::Abilities& of(const tidegate_client_abilities* a) {
  return *reinterpret_cast<const tidegate::sdk::Abilities*>(a);
}
}  // namespace

tidegate_client_abilities* tidegate_client_abilities_create(double most, double per_second) {
  return reinterpret_cast<tidegate_client_abilities*>(
      new (std::nothrow) tidegate::sdk::Abilities(most, per_second));
}
void tidegate_client_abilities_destroy(tidegate_client_abilities* abilities) {
  delete reinterpret_cast<tidegate::sdk::Abilities*>(abilities);
}
int32_t tidegate_client_abilities_define(tidegate_client_abilities* abilities, uint32_t ability,
                                         double cooldown_ms, double cost) {
  return of(abilities).define(ability, {cooldown_ms, cost}) ? 1 : 0;
}
tidegate_client_use tidegate_client_abilities_use(tidegate_client_abilities* abilities,
                                                  uint32_t ability, double now_ms,
                                                  uint32_t* number) {
  uint32_t unused;
  return static_cast<tidegate_client_use>(
      of(abilities).use(ability, now_ms, number != nullptr ? number : &unused));
}
void tidegate_client_abilities_answer(tidegate_client_abilities* abilities, uint32_t number,
                                      int32_t taken) {
  if (taken != 0) {
    of(abilities).confirm(number);
  } else {
    of(abilities).refuse(number);
  }
}
void tidegate_client_abilities_set(tidegate_client_abilities* abilities, double amount,
                                   double at_ms) {
  of(abilities).set_resource(amount, at_ms);
}
double tidegate_client_abilities_resource(const tidegate_client_abilities* abilities,
                                          double now_ms) {
  return of(abilities).resource(now_ms);
}
double tidegate_client_abilities_cooldown(const tidegate_client_abilities* abilities,
                                          uint32_t ability, double now_ms) {
  return of(abilities).cooldown_left_ms(ability, now_ms);
}

int32_t tidegate_client_get_stats(tidegate_client* client, tidegate_client_stats* out) {
  tidegate_client_stats stats{};
  of(client).stats(&stats);
  return give_struct(stats, out) ? 1 : 0;
}
void tidegate_client_traffic(const tidegate_client* client, uint32_t type, int32_t direction,
                             uint64_t* messages, uint64_t* bytes) {
  const tidegate::sdk::Connection& c = of(client).connection();
  const auto& figures = (direction == 0 ? c.received() : c.sent()).of(type);
  if (messages != nullptr) *messages = figures.messages;
  if (bytes != nullptr) *bytes = figures.bytes;
}

tidegate_client_overlay* tidegate_client_overlay_create(float line_height, float char_width) {
  return reinterpret_cast<tidegate_client_overlay*>(
      new (std::nothrow) tidegate::sdk::Overlay(line_height, char_width));
}
void tidegate_client_overlay_destroy(tidegate_client_overlay* overlay) {
  delete reinterpret_cast<tidegate::sdk::Overlay*>(overlay);
}
void tidegate_client_overlay_sample(tidegate_client_overlay* overlay, tidegate_client* client) {
  reinterpret_cast<tidegate::sdk::Overlay*>(overlay)->sample(client);
}
int32_t tidegate_client_overlay_draw(tidegate_client_overlay* overlay, int32_t level, float x,
                                     float y, tidegate_client_drawing* out) {
  if (level < 0 || level > tidegate::sdk::Overlay::kLevelMost) return 0;
  tidegate_client_drawing drawing{};
  reinterpret_cast<tidegate::sdk::Overlay*>(overlay)->draw(level, x, y, &drawing);
  return give_struct(drawing, out) ? 1 : 0;
}

tidegate_client_result tidegate_client_simulate(tidegate_client* client,
                                                const tidegate_client_conditions* conditions) {
  tidegate_client_conditions whole;
  if (!take_struct(conditions, &whole)) return TIDEGATE_CLIENT_INVALID;
#ifdef TIDEGATE_SIMULATOR
  of(client).connection().link().simulator().set(
      {whole.latency_ms, whole.jitter_ms, whole.loss, whole.bandwidth});
  return TIDEGATE_CLIENT_OK;
#else
  (void)client;
  return TIDEGATE_CLIENT_DROPPED;
#endif
}
int32_t tidegate_client_conditions_named(const char* name, tidegate_client_conditions* out) {
  const tidegate::sdk::Conditions* const found =
      name == nullptr ? nullptr : tidegate::sdk::conditions_named(name);
  if (found == nullptr) return 0;
  const tidegate_client_conditions c{sizeof c, found->latency_ms, found->jitter_ms, found->loss,
                                     found->bandwidth};
  return give_struct(c, out) ? 1 : 0;
}
tidegate_client_result tidegate_client_drop_connection(tidegate_client* client) {
  if (!tidegate::sdk::kHasSimulator) return TIDEGATE_CLIENT_DROPPED;
  of(client).connection().drop();
  return TIDEGATE_CLIENT_OK;
}
