// SPDX-License-Identifier: Apache-2.0
// A game's say in the world: hooks into input and simulation, entities of its own (NPCs and
// objects), state of its own beside every entity, and the zone's environment.
//
// Every hook runs on the shard that owns the entity (or holds the connection), in its turn, and
// must not block. An entity has one owner at a time and changes it between ticks only; what the
// game keeps for an entity (see EntityView::tag) needs no lock as long as only hooks for that
// entity touch it. A hook that throws is counted (tidegate_hook_failures_total) and replaced by the
// answer named beside it.
//
// Thread: registration on the host's thread before start(); hooks on any shard, on several at once
// for different entities. Owner: Server keeps copies. Limits: kCustomBytesMax for each entity's
// state, kStateProvidersMax, kEnvironmentBytesMax.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tidegate/handlers.h"
#include "tidegate/states.h"

namespace tidegate {

inline constexpr size_t kCustomBytesMax = 128;
inline constexpr size_t kStateProvidersMax = 8;
inline constexpr size_t kEnvironmentBytesMax = 2048;  // encoded
inline constexpr size_t kEntityIdBytesMax = 64;

struct Velocity {
  float x = 0, y = 0, z = 0;  // metres a second
};

enum class Kind : uint8_t { kPlayer = 0, kNpc = 1, kObject = 2 };

// An entity while it lives in this process; never used again within hours. 0: none.
struct EntityRef {
  uint32_t id = 0;
  explicit operator bool() const { return id != 0; }
  bool operator==(const EntityRef&) const = default;
};

// What is known of an entity at this moment; views are valid for the call.
struct EntityView {
  EntityRef ref;
  Kind kind = Kind::kPlayer;
  std::string_view id;  // player_id on the wire
  Position position;
  Velocity velocity;
  float yaw = 0;        // radians about y, 0 to 2 pi, in 256 steps
  uint32_t flags = 0;   // movement_flags of the client, or what the game set
  uint64_t tag = 0;     // as given to World::spawn; goes with the entity to other shards
  bool remote = false;  // another gateway owns it (world.shared): seen, not to be changed here
};

// One PLAYER_MOVE, cut to the server's grid. A hook may change what the client has sent.
struct MoveInput {
  Position position;
  Velocity velocity;
  float yaw = 0;
  uint32_t flags = 0;
  uint32_t client_tick = 0;  // not to be changed
  bool has_position = false, has_velocity = false, has_yaw = false;
};

struct Violation {
  EntityView player;  // where it stands and stays unless forgiven
  Position wanted;
  uint16_t code = 0;   // 4010 speed, 4011 bounds
  uint32_t count = 0;  // of this player since it came into the world, this one included
};

enum class ViolationResponse : uint8_t {
  kCorrect,     // MOVE_ACK with corrected = true and the code (what happens without a hook)
  kForgive,     // the move is applied, cut to the world's bounds
  kDisconnect,  // corrected, then closed with 1008
};

// A PLAYER_ACTION, borrowed for the call.
struct Action {
  std::string_view id;
  std::string_view target;
  uint32_t client_tick = 0;
  Bytes payload;  // the whole PlayerAction; action_parameter() finds parameters in it
};
// Value of a parameter; empty when it is not there.
TIDEGATE_API std::string_view action_parameter(const Action& action, std::string_view name);

// Bits of what changed.
enum Changed : uint8_t {
  kChangedPosition = 1,
  kChangedYaw = 2,
  kChangedVelocity = 4,
  kChangedFlags = 8
};

enum class WorldResult : uint8_t {
  kOk = 0,
  kNotHere,   // no such entity on this shard (any more)
  kNotOwner,  // the place belongs to another shard, or lies outside of the bounds
  kFull,      // world.npcs, or a limit of cells
  kBadName,   // empty, or longer than kEntityIdBytesMax
  kRange,     // a number that is not finite, a kind that may not be made, a player
  kTooLarge,  // above kCustomBytesMax or kEnvironmentBytesMax
};

struct SpawnRequest {
  std::string_view id;  // the game keeps it unique, among players too
  Kind kind = Kind::kNpc;
  Position position;
  Velocity velocity;
  float yaw = 0;
  uint32_t flags = 0;
  uint64_t tag = 0;
};

// What to change of an entity; what is not given stays.
struct Move {
  Position position;
  Velocity velocity;
  float yaw = 0;
  uint32_t flags = 0;
  bool has_position = false, has_velocity = false, has_yaw = false, has_flags = false;
};

// State of the whole zone, sent to everybody when it is set.
struct Environment {
  float time_of_day = 0;  // hours, 0 to 24
  std::string weather;
  std::vector<std::pair<std::string, std::string>> properties;
};

// The slice of the world that this shard owns, in its tick hook.
class World {
 public:
  virtual uint32_t shard() const noexcept = 0;
  virtual uint32_t shard_count() const noexcept = 0;
  virtual uint32_t tick() const noexcept = 0;  // that begins now
  virtual float seconds_per_tick() const noexcept = 0;
  // Whether an entity at this place belongs to this shard: where spawn() may put one.
  virtual bool owns(Position position) const noexcept = 0;

  virtual WorldResult spawn(const SpawnRequest& request, EntityRef* out = nullptr) noexcept = 0;
  // Without checks of speed; a place outside of the bounds is cut to them. An entity that crosses
  // into another shard's cell is handed over in this tick and belongs to that shard's next hook.
  virtual WorldResult move(EntityRef entity, const Move& to) noexcept = 0;
  virtual WorldResult despawn(EntityRef entity) noexcept = 0;  // no players
  // Bytes for `custom`, as they are; kRange when state providers make them.
  virtual WorldResult set_custom(EntityRef entity, Bytes bytes) noexcept = 0;
  // State providers are asked for this entity in this tick.
  virtual WorldResult mark_state(EntityRef entity) noexcept = 0;

  // Entities owned here, each once: `uint32_t at = 0; while (world.next(&at, &view)) ...`. Despawn
  // and move inside of the loop are fine.
  virtual bool next(uint32_t* cursor, EntityView* out) const noexcept = 0;
  virtual bool find(EntityRef entity, EntityView* out) const noexcept = 0;

  // Keyed state (states.h), of any key, whoever owns its place.
  virtual SendResult set_state(const StateSpec& spec) noexcept = 0;
  virtual SendResult remove_state(StateScope scope, std::string_view key,
                                  std::string_view player = {}) noexcept = 0;

 protected:
  ~World() = default;
};

enum class StateRequest : uint8_t {
  kWhole,   // everything, for who sees the entity for the first time
  kChange,  // since the last call; only asked of providers with `delta`
};

// Serialises one part of an entity's custom state. Asked when an entity comes into the world and
// when it was marked. `custom` is then a protobuf message with a bytes field for each provider, in
// order of priority (highest first): field 2n holds the whole of provider n, 2n + 1 a change; n
// counts registrations from 1. What does not fit kCustomBytesMax is left out and counted.
struct StateProvider {
  std::string name;      // 1 to 32 of [A-Za-z0-9_.-]
  uint8_t priority = 5;  // 0 to 10
  bool delta = false;    // can tell changes
  // Writes at most `room` bytes to `out` and returns how many; 0: nothing to say. Throws: nothing.
  std::function<size_t(const EntityView& entity, StateRequest request, uint8_t* out, size_t room)>
      write;
};

// Empty members cost nothing.
struct WorldHooks {
  // Before the server's own checks. Returns 0, or the code that refuses the input (4000 to 4999,
  // reason of the MOVE_ACK). Throws: refused with 4009.
  std::function<uint16_t(const EntityView& player, MoveInput& input)> before_input;
  // An input changed the player's state; `changed` are Changed bits.
  std::function<void(const EntityView& player, uint8_t changed)> after_state_change;
  // The checks refuse a move. Throws: kCorrect.
  std::function<ViolationResponse(const Violation& violation)> violation;
  // Before the handler of PLAYER_ACTION. Returns 0, or the code of the ERROR (4000 to 4017); a
  // payload that is no PlayerAction is ERROR 4003 by itself. Throws: 4009.
  std::function<uint16_t(Context& context, const Action& action)> validate_action;
  // How far this player sees, metres, cut to world.view_distance; asked when it comes into the
  // world (later: Context::set_view_distance). `asked` is the client's wish or the configured
  // distance. Throws: `asked`.
  std::function<float(const Context& context, float asked)> interest_radius;
  // Once a tick on every shard, before inputs are applied. handlers.tick_budget is what a call may
  // take before it is counted.
  std::function<void(World& world)> tick;
  // A client asks to change a keyed state; its rule has spoken already (attempt.reason). On the
  // shard that keeps the state, in the order in which changes are decided. Throws: refused.
  std::function<StateVerdict(const StateAttempt& attempt)> state_attempt;
};

}  // namespace tidegate
