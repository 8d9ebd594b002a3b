// SPDX-License-Identifier: Apache-2.0
// The client's keyed state: what is told of it, and what is asked of the server.
#include "sdk/c_values.h"
#include "sdk/client.h"

namespace tidegate::sdk {

using wire::MessageType;

namespace {
tidegate_client_keyed_state view_of(const KeyedState& s) {
  tidegate_client_keyed_state out{};
  out.struct_size = sizeof out;
  out.key = text_of(s.key);
  out.value = bytes_of(s.value);
  out.version = s.version;
  out.scope = s.scope;
  out.owner = text_of(s.owner);
  out.position = {s.position.x, s.position.y, s.position.z};
  out.expires_in_ms = s.expires_in_ms;
  return out;
}
}  // namespace

void Client::tell_state(const KeyedState& state, bool removed) {
  const tidegate_client_keyed_state keyed = view_of(state);
  tidegate_client_event event = event_of(TIDEGATE_EVENT_KEYED_STATE);
  event.code = removed ? 1 : 0;
  event.keyed = &keyed;
  emit(event);
}

void Client::on_state_update(base::Bytes payload) {
  states_.apply(payload, [this](const KeyedState& s, bool gone) { tell_state(s, gone); });
}

void Client::on_state_result(base::Bytes payload) {
  wire::StateResult result;
  if (!wire::decode(payload, &result)) return;
  if (result.has_current) {
    // The place of a state does not stand in a correction; it is where it was.
    states_.apply(result.current, [this](const KeyedState& s, bool gone) { tell_state(s, gone); });
  }
  if (dead_) return;
  tidegate_client_event event = event_of(TIDEGATE_EVENT_STATE_RESULT);
  event.attempt = result.request;
  event.text = text_of(result.key);
  event.code = result.reason;
  const KeyedState* const now =
      result.has_current ? states_.find(result.scope, result.key) : nullptr;
  tidegate_client_keyed_state keyed{};
  if (now != nullptr) {
    keyed = view_of(*now);
    event.keyed = &keyed;
  }
  emit(event);
}

bool Client::next_state(uint32_t* cursor, tidegate_client_keyed_state* out) const {
  if (*cursor >= states_.all().size()) return false;
  *out = view_of(states_.all()[(*cursor)++]);
  return true;
}

bool Client::find_state(uint32_t scope, std::string_view key,
                        tidegate_client_keyed_state* out) const {
  const KeyedState* const state = states_.find(scope, key);
  if (state == nullptr) return false;
  *out = view_of(*state);
  return true;
}

tidegate_client_result Client::change_state(const wire::StateChange& change, uint32_t* request) {
  wire::StateChange numbered = change;
  numbered.request = ++last_request_;
  if (request != nullptr) *request = numbered.request;
  uint8_t payload[wire::kStateEntryBytesMax];
  wire::PbWriter out(payload);
  wire::encode(out, numbered);
  return connection_.send(now(), static_cast<uint32_t>(MessageType::kStateChange), out.written());
}

}  // namespace tidegate::sdk
