// SPDX-License-Identifier: Apache-2.0
// The C API's keyed state.
#include "embed/c_convert.h"

using namespace tidegate;
using namespace tidegate::embed;

static_assert(TIDEGATE_STATE_VIEW == static_cast<int>(StateScope::kView));
static_assert(TIDEGATE_RULE_OWNER == static_cast<int>(StateRule::kOwner));
static_assert(TIDEGATE_STATE_DISCONNECT == static_cast<int>(StateVerdict::kDisconnect));

namespace {

// Larger ones stay out of range.
uint8_t small(uint32_t value) { return value > 255 ? uint8_t{255} : static_cast<uint8_t>(value); }

template <class Receiver>
tidegate_sent set(Receiver& receiver, const tidegate_state* state) {
  tidegate_state from;
  if (!take_struct(state, &from)) return TIDEGATE_SEND_RANGE;
  StateSpec to;
  to.key = view_of(from.key);
  to.scope = static_cast<StateScope>(small(from.scope));
  to.rule = static_cast<StateRule>(small(from.rule));
  to.value = view_of(from.value);
  to.player = view_of(from.player);
  to.owner = view_of(from.owner);
  to.position = position_of(from.position);
  to.radius = from.radius;
  to.lifetime_ms = from.lifetime_ms;
  to.hold_ms = from.hold_ms;
  return static_cast<tidegate_sent>(receiver.set_state(to));
}

template <class Receiver>
tidegate_sent remove(Receiver& receiver, uint32_t scope, tidegate_text key, tidegate_text player) {
  return static_cast<tidegate_sent>(
      receiver.remove_state(static_cast<StateScope>(small(scope)), view_of(key), view_of(player)));
}

}  // namespace

tidegate_sent tidegate_server_set_state(tidegate_server* server, const tidegate_state* state) {
  return set(server_of(server), state);
}
tidegate_sent tidegate_server_remove_state(tidegate_server* server, uint32_t scope,
                                           tidegate_text key, tidegate_text player) {
  return remove(server_of(server), scope, key, player);
}
tidegate_sent tidegate_context_set_state(tidegate_context* context, const tidegate_state* state) {
  return set(context_of(context), state);
}
tidegate_sent tidegate_context_remove_state(tidegate_context* context, uint32_t scope,
                                            tidegate_text key, tidegate_text player) {
  return remove(context_of(context), scope, key, player);
}
tidegate_sent tidegate_world_set_state(tidegate_world* world, const tidegate_state* state) {
  return set(world_of(world), state);
}
tidegate_sent tidegate_world_remove_state(tidegate_world* world, uint32_t scope, tidegate_text key,
                                          tidegate_text player) {
  return remove(world_of(world), scope, key, player);
}
