// SPDX-License-Identifier: Apache-2.0
#include "shard/world_bridge.h"

#include <cmath>
#include <cstring>

#include "shard/states.h"
#include "wire/pb.h"
#include "wire/quantise.h"

namespace tidegate::shard {

using metrics::Counter;
using world::EntitySlot;
using world::kNoEntity;

static_assert(kCustomBytesMax == world::kCustomBytesMax);
static_assert(kEntityIdBytesMax == world::kPlayerIdBytesMax);
static_assert(uint8_t{kChangedPosition} == uint8_t{world::kChangedPosition} &&
              uint8_t{kChangedYaw} == uint8_t{world::kChangedYaw} &&
              uint8_t{kChangedVelocity} == uint8_t{world::kChangedVelocity} &&
              uint8_t{kChangedFlags} == uint8_t{world::kChangedFlags});

namespace {

constexpr float kRadiansPerYaw = 3.14159265358979F / 128;

bool finite(const Position& p) {
  return std::isfinite(p.x) && std::isfinite(p.y) && std::isfinite(p.z);
}
bool finite(const Velocity& v) {
  return std::isfinite(v.x) && std::isfinite(v.y) && std::isfinite(v.z);
}

uint8_t yaw_steps(float radians) {
  return static_cast<uint8_t>(static_cast<int64_t>(std::nearbyint(
      std::remainder(static_cast<double>(radians), 6.283185307179586) * (128 / 3.14159265358979))));
}

void put_velocity(const Velocity& from, int16_t (&to)[3]) {
  to[0] = wire::to_velocity(from.x);
  to[1] = wire::to_velocity(from.y);
  to[2] = wire::to_velocity(from.z);
}

bool same(const Position& a, const Position& b) { return a.x == b.x && a.y == b.y && a.z == b.z; }
bool same(const Velocity& a, const Velocity& b) { return a.x == b.x && a.y == b.y && a.z == b.z; }

Velocity velocity_of(const int16_t (&v)[3]) {
  return {wire::from_velocity(v[0]), wire::from_velocity(v[1]), wire::from_velocity(v[2])};
}

WorldResult result_of(world::SpawnStatus status) {
  switch (status) {
    case world::SpawnStatus::kOk:
      return WorldResult::kOk;
    case world::SpawnStatus::kFull:
    case world::SpawnStatus::kExists:
      return WorldResult::kFull;
    case world::SpawnStatus::kNotOwner:
      return WorldResult::kNotOwner;
    case world::SpawnStatus::kBadName:
      return WorldResult::kBadName;
  }
  return WorldResult::kRange;
}

WorldResult result_of(const world::Queued& queued) {
  return queued.status == world::QueueStatus::kOk ? WorldResult::kOk : WorldResult::kNotHere;
}

}  // namespace

WorldBridge::WorldBridge(const BridgeConfig& config, world::WorldSlice& slice, BridgeHost& host,
                         metrics::Counters& counters)
    : config_(config),
      slice_(slice),
      host_(host),
      counters_(counters),
      marks_(config.hooks != nullptr && !config.hooks->providers.empty() ? slice.entities().limit()
                                                                         : 0) {
  if (config.hooks != nullptr && config.hooks->in_slice()) slice.set_hooks(this);
}

template <class T, class Call>
T WorldBridge::timed(T otherwise, Call&& call) {
  const base::Instant started = host_.now();
  const Guarded<T> result = call();
  const base::Duration took = host_.now() - started;
  counters_.record(metrics::Timing::kHook, took);
  if (took > config_.hook_budget) counters_.add(Counter::kHookOverBudget, 1);
  if (!result.failed) return result.value;
  counters_.add(Counter::kHookFailures, 1);
  return otherwise;
}

Position WorldBridge::metres(const world::Steps3& p) const {
  const float step = config_.position_step;
  return {wire::to_metres(p[0], step), wire::to_metres(p[1], step), wire::to_metres(p[2], step)};
}

world::Steps3 WorldBridge::steps(const Position& p) const {
  const float step = config_.position_step;
  return {wire::to_steps(p.x, step), wire::to_steps(p.y, step), wire::to_steps(p.z, step)};
}

EntityView WorldBridge::view(EntitySlot s) const {
  const world::EntityTable& entities = slice_.entities();
  const world::Image& image = entities.image(s);
  EntityView v;
  v.ref = {entities.id(s).value};
  v.kind = static_cast<Kind>(image.kind);
  v.id = entities.player_id(s);
  v.position = metres(image.position);
  v.velocity = velocity_of(image.velocity);
  v.yaw = static_cast<float>(image.yaw) * kRadiansPerYaw;
  v.flags = image.flags;
  v.tag = entities.control(s).tag;
  v.remote = (entities.membership(s).state & world::kRemote) != 0;
  return v;
}

EntitySlot WorldBridge::slot_of(EntityRef entity) const {
  const EntitySlot s = slice_.entities().find({entity.id});
  if (s == kNoEntity) return kNoEntity;
  const uint8_t state = slice_.entities().membership(s).state;
  return (state & (world::kLeaving | world::kOutOfCell)) != 0 ? kNoEntity : s;
}

bool WorldBridge::remote(EntityRef entity) const {
  const EntitySlot s = slot_of(entity);
  return s != kNoEntity && (slice_.entities().membership(s).state & world::kRemote) != 0;
}

// --- input ---

uint16_t WorldBridge::before_input(EntitySlot s, world::Input* input) {
  if (config_.hooks->before_input == nullptr) return 0;
  using world::Input;
  MoveInput sent;
  sent.has_position = (input->has & Input::kPosition) != 0;
  sent.has_velocity = (input->has & Input::kVelocity) != 0;
  sent.has_yaw = (input->has & Input::kYaw) != 0;
  if (sent.has_position) sent.position = metres(input->position);
  if (sent.has_velocity) sent.velocity = velocity_of(input->velocity);
  if (sent.has_yaw) sent.yaw = static_cast<float>(input->yaw) * kRadiansPerYaw;
  sent.flags = input->flags;
  sent.client_tick = input->client_tick;
  MoveInput m = sent;
  const uint16_t code = timed<uint16_t>(wire::kErrorHandlerFailed, [&] {
    return config_.hooks->before_input(config_.hooks->user, view(s), m);
  });
  if (code != 0) return code >= 4000 && code <= 4999 ? code : uint16_t{wire::kErrorNotPermitted};
  if (!finite(m.position) || !finite(m.velocity) || !std::isfinite(m.yaw)) {
    counters_.add(Counter::kHookFailures, 1);
    return wire::kErrorHandlerFailed;
  }
  input->has =
      static_cast<uint8_t>((m.has_position ? Input::kPosition : 0) |
                           (m.has_velocity ? Input::kVelocity : 0) | (m.has_yaw ? Input::kYaw : 0));
  // Only what was changed: far out a float of metres is coarser than the grid.
  if (!same(m.position, sent.position)) input->position = steps(m.position);
  if (!same(m.velocity, sent.velocity)) put_velocity(m.velocity, input->velocity);
  if (m.yaw != sent.yaw) input->yaw = yaw_steps(m.yaw);
  input->flags = m.flags;
  return 0;
}

world::Verdict WorldBridge::on_violation(EntitySlot s, const world::Input& input, uint16_t reason) {
  if (config_.hooks->violation == nullptr) return world::Verdict::kCorrect;
  const world::Control& control = slice_.entities().control(s);
  Violation violation;
  violation.player = view(s);
  violation.wanted = metres(input.position);
  violation.code = reason;
  violation.count = control.violations;
  const auto response = timed(ViolationResponse::kCorrect, [&] {
    return config_.hooks->violation(config_.hooks->user, violation);
  });
  if (response == ViolationResponse::kForgive) return world::Verdict::kForgive;
  if (response == ViolationResponse::kDisconnect && control.connection.valid()) {
    host_.close_player(control.connection_shard, control.connection, reason);
  }
  return world::Verdict::kCorrect;
}

void WorldBridge::changed(EntitySlot s, uint8_t fields) {
  if (config_.hooks->after_state_change == nullptr) return;
  timed(true,
        [&] { return config_.hooks->after_state_change(config_.hooks->user, view(s), fields); });
}

// --- the tick hook and what it may do ---

void WorldBridge::run_tick(uint32_t tick) {
  tick_ = tick;
  const base::Instant started = host_.now();
  const Guarded<bool> result = config_.hooks->tick(config_.hooks->user, *this);
  const base::Duration took = host_.now() - started;
  counters_.record(metrics::Timing::kTickHook, took);
  if (took > config_.tick_budget) counters_.add(Counter::kTickHookOverBudget, 1);
  if (result.failed) counters_.add(Counter::kHookFailures, 1);
}

bool WorldBridge::owns(Position position) const noexcept {
  if (!finite(position)) return false;
  const world::Steps3 at = steps(position);
  return slice_.scale().in_bounds(at) && slice_.owner_of_position(at).value == config_.shard &&
         host_.owns_place(at);
}

WorldResult WorldBridge::spawn(const SpawnRequest& request, EntityRef* out) noexcept {
  if (!finite(request.position) || !finite(request.velocity) || !std::isfinite(request.yaw) ||
      (request.kind != Kind::kNpc && request.kind != Kind::kObject)) {
    return WorldResult::kRange;
  }
  if (!wire::is_utf8(request.id)) return WorldResult::kBadName;
  world::SpawnSpec spec;
  spec.player_id = request.id;
  spec.kind = static_cast<world::EntityKind>(request.kind);
  spec.position = steps(request.position);
  spec.yaw = yaw_steps(request.yaw);
  put_velocity(request.velocity, spec.velocity);
  spec.flags = request.flags;
  spec.tag = request.tag;
  if (!host_.owns_place(spec.position)) return WorldResult::kNotOwner;
  spec.stamp = host_.make_stamp();
  const base::EntityId id = host_.make_entity_id();
  const WorldResult result = result_of(slice_.spawn(id, spec, tick_));
  if (result != WorldResult::kOk) return result;
  if (wants_state()) mark(id);
  if (out != nullptr) out->id = id.value;
  return result;
}

WorldResult WorldBridge::move(EntityRef entity, const Move& to) noexcept {
  if (!finite(to.position) || !finite(to.velocity) || !std::isfinite(to.yaw)) {
    return WorldResult::kRange;
  }
  if (remote(entity)) return WorldResult::kNotHere;
  using world::Input;
  Input input{};
  input.has = static_cast<uint8_t>(
      (to.has_position ? Input::kPosition : 0) | (to.has_velocity ? Input::kVelocity : 0) |
      (to.has_yaw ? Input::kYaw : 0) | (to.has_flags ? Input::kFlags : 0));
  input.position = steps(to.position);
  put_velocity(to.velocity, input.velocity);
  input.yaw = yaw_steps(to.yaw);
  input.flags = to.flags;
  return result_of(slice_.place({entity.id}, input));
}

WorldResult WorldBridge::despawn(EntityRef entity) noexcept {
  const EntitySlot s = slot_of(entity);
  if (s == kNoEntity || remote(entity)) return WorldResult::kNotHere;
  if (slice_.entities().image(s).kind == world::EntityKind::kPlayer) return WorldResult::kRange;
  return result_of(slice_.remove({entity.id}));
}

WorldResult WorldBridge::set_custom(EntityRef entity, Bytes bytes) noexcept {
  if (bytes.size > kCustomBytesMax) return WorldResult::kTooLarge;
  if (wants_state()) return WorldResult::kRange;
  if (remote(entity)) return WorldResult::kNotHere;
  return result_of(
      slice_.set_custom({entity.id}, {static_cast<const uint8_t*>(bytes.data), bytes.size}, {}));
}

WorldResult WorldBridge::mark_state(EntityRef entity) noexcept {
  return result_of(mark({entity.id}));
}

bool WorldBridge::next(uint32_t* cursor, EntityView* out) const noexcept {
  const world::EntityTable& entities = slice_.entities();
  for (; *cursor < entities.high_water(); ++*cursor) {
    const EntitySlot s = *cursor;
    if (!entities.live(s) ||
        (entities.membership(s).state & (world::kLeaving | world::kOutOfCell)) != 0) {
      continue;
    }
    *out = view(s);
    ++*cursor;
    return true;
  }
  return false;
}

bool WorldBridge::find(EntityRef entity, EntityView* out) const noexcept {
  const EntitySlot s = slot_of(entity);
  if (s == kNoEntity) return false;
  *out = view(s);
  return true;
}

SendResult WorldBridge::set_state(const StateSpec& spec) noexcept {
  return host_.states().set(spec);
}

SendResult WorldBridge::remove_state(StateScope scope, std::string_view key,
                                     std::string_view player) noexcept {
  return host_.states().remove(scope, key, player);
}

// --- state providers ---

world::Queued WorldBridge::mark(base::EntityId id) {
  if (!wants_state()) return {};
  if (remote({id.value})) return {};  // its owner serialises it
  bool first = false;
  const world::Queued queued = slice_.mark_custom(id, &first);
  // Each entity stands in the list once, and the list has room for all.
  if (first && mark_count_ < marks_.size()) marks_[mark_count_++] = id.value;
  return queued;
}

void WorldBridge::run_providers() {
  for (uint32_t i = 0; i < mark_count_; ++i) {
    const EntitySlot s = slot_of({marks_[i]});
    if (s != kNoEntity && !remote({marks_[i]})) serialise(s);
  }
  mark_count_ = 0;
}

void WorldBridge::serialise(EntitySlot s) {
  uint8_t whole_bytes[kCustomBytesMax];
  uint8_t change_bytes[kCustomBytesMax];
  wire::PbWriter whole(whole_bytes);
  wire::PbWriter change(change_bytes);
  const EntityView entity = view(s);
  const auto put = [&](uint32_t field, base::Bytes bytes, wire::PbWriter& out) {
    // Tag and length of a field with a small number and size take at most 3 bytes.
    constexpr size_t kHeaderBytes = 3;
    if (bytes.empty()) return;
    if (bytes.size() + kHeaderBytes > kCustomBytesMax - out.size()) {
      counters_.add(Counter::kCustomLeftOut, 1);
    } else {
      out.put_bytes(field, bytes);
    }
  };
  const bool told = slice_.entities().custom(s).told();
  bool tells_change = false;
  uint8_t bytes[kCustomBytesMax];
  for (const ProviderEntry& provider : config_.hooks->providers) {
    const auto ask = [&](StateRequest request) -> base::Bytes {
      const size_t n = timed(size_t{0}, [&] {
        return provider.write(provider.user, entity, request, bytes, sizeof bytes);
      });
      if (n <= sizeof bytes) return {bytes, n};
      counters_.add(Counter::kHookFailures, 1);
      return {};
    };
    // The change first: it is what happened since the last call.
    const bool delta = provider.delta && told;
    tells_change |= delta;
    if (delta) put(provider.number * 2 + 1, ask(StateRequest::kChange), change);
    const base::Bytes all = ask(StateRequest::kWhole);
    put(provider.number * 2, all, whole);
    if (!delta) put(provider.number * 2, all, change);
  }
  slice_.set_custom(slice_.entities().id(s), whole.written(),
                    tells_change ? change.written() : base::Bytes{});
}

}  // namespace tidegate::shard
