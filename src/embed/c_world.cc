// SPDX-License-Identifier: Apache-2.0
// The C API's hooks, state providers and world.
#include <algorithm>
#include <exception>

#include "embed/c_convert.h"

using namespace tidegate;
using namespace tidegate::embed;

static_assert(TIDEGATE_TOO_LARGE == static_cast<int>(WorldResult::kTooLarge));
static_assert(TIDEGATE_OBJECT == static_cast<int>(Kind::kObject));
static_assert(TIDEGATE_DISCONNECT == static_cast<int>(ViolationResponse::kDisconnect));
static_assert(TIDEGATE_POSITION == int{kChangedPosition} && TIDEGATE_YAW == int{kChangedYaw} &&
              TIDEGATE_VELOCITY == int{kChangedVelocity} && TIDEGATE_FLAGS == int{kChangedFlags});

namespace {

tidegate_done done(WorldResult result) { return static_cast<tidegate_done>(result); }

// A code that is none stays none.
uint16_t code_of(uint32_t code) { return static_cast<uint16_t>(std::min(code, 65'535u)); }

tidegate_move move_of(const MoveInput& m) {
  tidegate_move to{};
  to.struct_size = sizeof to;
  if (m.has_position) to.fields |= TIDEGATE_POSITION;
  if (m.has_velocity) to.fields |= TIDEGATE_VELOCITY;
  if (m.has_yaw) to.fields |= TIDEGATE_YAW;
  to.flags = m.flags;
  to.position = vector_of(m.position);
  to.velocity = vector_of(m.velocity);
  to.yaw = m.yaw;
  to.client_tick = m.client_tick;
  return to;
}

void take_back(const tidegate_move& from, MoveInput& m) {
  m.has_position = (from.fields & TIDEGATE_POSITION) != 0;
  m.has_velocity = (from.fields & TIDEGATE_VELOCITY) != 0;
  m.has_yaw = (from.fields & TIDEGATE_YAW) != 0;
  m.flags = from.flags;
  m.position = position_of(from.position);
  m.velocity = velocity_of(from.velocity);
  m.yaw = from.yaw;
}

WorldHooks hooks_of(const tidegate_hooks& h) {
  WorldHooks hooks;
  void* const user = h.user;
  if (h.before_input != nullptr) {
    hooks.before_input = [call = h.before_input, user](const EntityView& player, MoveInput& m) {
      const tidegate_entity entity = entity_of(player);
      tidegate_move move = move_of(m);
      const uint16_t code = code_of(call(user, &entity, &move));
      take_back(move, m);
      return code;
    };
  }
  if (h.after_state_change != nullptr) {
    hooks.after_state_change = [call = h.after_state_change, user](const EntityView& player,
                                                                   uint8_t changed) {
      const tidegate_entity entity = entity_of(player);
      call(user, &entity, changed);
    };
  }
  if (h.violation != nullptr) {
    hooks.violation = [call = h.violation, user](const Violation& v) {
      const tidegate_entity entity = entity_of(v.player);
      const tidegate_violation violation{sizeof(tidegate_violation), &entity, vector_of(v.wanted),
                                         v.code, v.count};
      switch (call(user, &violation)) {
        case TIDEGATE_FORGIVE:
          return ViolationResponse::kForgive;
        case TIDEGATE_DISCONNECT:
          return ViolationResponse::kDisconnect;
        default:
          return ViolationResponse::kCorrect;
      }
    };
  }
  if (h.validate_action != nullptr) {
    hooks.validate_action = [call = h.validate_action, user](Context& context, const Action& a) {
      const tidegate_action action{sizeof(tidegate_action), text_of(a.id), text_of(a.target),
                                   a.client_tick, bytes_of(a.payload)};
      return code_of(call(user, reinterpret_cast<tidegate_context*>(&context), &action));
    };
  }
  if (h.interest_radius != nullptr) {
    hooks.interest_radius = [call = h.interest_radius, user](const Context& context, float asked) {
      return call(user, reinterpret_cast<const tidegate_context*>(&context), asked);
    };
  }
  if (h.state_attempt != nullptr) {
    hooks.state_attempt = [call = h.state_attempt, user](const StateAttempt& a) {
      const tidegate_state_attempt attempt{sizeof(tidegate_state_attempt),
                                           text_of(a.player),
                                           text_of(a.key),
                                           static_cast<uint32_t>(a.scope),
                                           static_cast<uint32_t>(a.operation),
                                           bytes_of(a.wanted),
                                           bytes_of(a.value),
                                           text_of(a.owner),
                                           a.version,
                                           static_cast<uint32_t>(a.reason),
                                           a.refused,
                                           a.tick};
      const int32_t said = call(user, &attempt);
      return said >= TIDEGATE_STATE_BY_RULE && said <= TIDEGATE_STATE_DISCONNECT
                 ? static_cast<StateVerdict>(said)
                 : StateVerdict::kByRule;
    };
  }
  if (h.tick != nullptr) {
    hooks.tick = [call = h.tick, user](World& world) {
      call(user, reinterpret_cast<tidegate_world*>(&world));
    };
  }
  return hooks;
}

}  // namespace

tidegate_code tidegate_server_hooks(tidegate_server* server, const tidegate_hooks* hooks,
                                    tidegate_error* error) {
  tidegate_hooks h;
  if (!take_struct(hooks, &h)) return bad_struct(error);
  return contained(error, [&] { return report(error, server_of(server).hooks(hooks_of(h))); });
}

tidegate_code tidegate_server_state_provider(tidegate_server* server,
                                             const tidegate_state_provider* provider,
                                             tidegate_error* error) {
  tidegate_state_provider p;
  if (!take_struct(provider, &p)) return bad_struct(error);
  return contained(error, [&] {
    StateProvider to;
    to.name = string_of(p.name);
    to.priority = priority_of(p.priority);
    to.delta = p.delta != 0;
    if (p.write != nullptr) {
      to.write = [write = p.write, user = p.user](const EntityView& e, StateRequest request,
                                                  uint8_t* out, size_t room) {
        const tidegate_entity entity = entity_of(e);
        return write(user, &entity, static_cast<int32_t>(request), out, room);
      };
    }
    return report(error, server_of(server).state_provider(std::move(to)));
  });
}

tidegate_text tidegate_action_parameter(const tidegate_action* action, const char* name) {
  if (action == nullptr || name == nullptr) return {nullptr, 0};
  Action a;
  a.payload = view_of(action->payload);
  return text_of(action_parameter(a, name));
}

// ---- world ----

uint32_t tidegate_world_shard(const tidegate_world* world) { return world_of(world).shard(); }
uint32_t tidegate_world_shard_count(const tidegate_world* world) {
  return world_of(world).shard_count();
}
uint32_t tidegate_world_tick(const tidegate_world* world) { return world_of(world).tick(); }
float tidegate_world_seconds_per_tick(const tidegate_world* world) {
  return world_of(world).seconds_per_tick();
}
int32_t tidegate_world_owns(const tidegate_world* world, tidegate_vector position) {
  return world_of(world).owns(position_of(position)) ? 1 : 0;
}

tidegate_done tidegate_world_spawn(tidegate_world* world, const tidegate_spawn* request,
                                   uint32_t* ref) {
  tidegate_spawn from;
  if (!take_struct(request, &from)) return TIDEGATE_BAD_STRUCT;
  if (from.kind > TIDEGATE_OBJECT) return TIDEGATE_BAD_NUMBER;
  SpawnRequest to;
  to.id = view_of(from.id);
  to.kind = static_cast<Kind>(from.kind);
  to.position = position_of(from.position);
  to.velocity = velocity_of(from.velocity);
  to.yaw = from.yaw;
  to.flags = from.flags;
  to.tag = from.tag;
  EntityRef made;
  const WorldResult result = world_of(world).spawn(to, &made);
  if (ref != nullptr) *ref = made.id;
  return done(result);
}

tidegate_done tidegate_world_move(tidegate_world* world, uint32_t ref, const tidegate_move* to) {
  tidegate_move from;
  if (!take_struct(to, &from)) return TIDEGATE_BAD_STRUCT;
  Move move;
  move.position = position_of(from.position);
  move.velocity = velocity_of(from.velocity);
  move.yaw = from.yaw;
  move.flags = from.flags;
  move.has_position = (from.fields & TIDEGATE_POSITION) != 0;
  move.has_velocity = (from.fields & TIDEGATE_VELOCITY) != 0;
  move.has_yaw = (from.fields & TIDEGATE_YAW) != 0;
  move.has_flags = (from.fields & TIDEGATE_FLAGS) != 0;
  return done(world_of(world).move({ref}, move));
}

tidegate_done tidegate_world_despawn(tidegate_world* world, uint32_t ref) {
  return done(world_of(world).despawn({ref}));
}
tidegate_done tidegate_world_set_custom(tidegate_world* world, uint32_t ref, tidegate_bytes bytes) {
  return done(world_of(world).set_custom({ref}, view_of(bytes)));
}
tidegate_done tidegate_world_mark_state(tidegate_world* world, uint32_t ref) {
  return done(world_of(world).mark_state({ref}));
}

int32_t tidegate_world_next(const tidegate_world* world, uint32_t* cursor, tidegate_entity* out) {
  EntityView e;
  if (cursor == nullptr || !world_of(world).next(cursor, &e)) return 0;
  return give_struct(entity_of(e), out) ? 1 : 0;
}
int32_t tidegate_world_find(const tidegate_world* world, uint32_t ref, tidegate_entity* out) {
  EntityView e;
  if (!world_of(world).find({ref}, &e)) return 0;
  return give_struct(entity_of(e), out) ? 1 : 0;
}
