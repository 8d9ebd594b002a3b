// SPDX-License-Identifier: Apache-2.0
// The simulation phase of a slice: inputs and their checks, linger, crossings and hand-over.
#include <cmath>
#include <cstring>

#include "wire/quantise.h"
#include "wire/steer.h"
#include "world/world_slice.h"

namespace tidegate::world {

namespace {

// An entity on its way to another slice of this process, with its name, custom state and past
// behind it.
struct TransferRecord {
  Image image;
  Control control;
  uint32_t id;
  CellKey from;
  uint8_t known;  // 1: watchers of `from` knew it there
  uint8_t state;  // StateBit that travel
  uint8_t name_bytes;
  uint8_t custom_bytes;
  uint8_t samples;  // of its past, behind the custom state
};
static_assert(sizeof(TransferRecord) + kPlayerIdBytesMax + kCustomBytesMax +
                  History::kTravelMax * sizeof(HistorySample) <=
              kTransferBytesMax);
static_assert(std::is_trivially_copyable_v<TransferRecord>);

constexpr uint8_t kTravellingState =
    kResultPending | kAcknowledges | kCorrected | kLeaving | kRemote;

// Smallest r with r * r >= v. The same on every machine: the estimate is corrected.
uint64_t ceil_sqrt(uint64_t v) {
  auto r = static_cast<uint64_t>(std::sqrt(static_cast<double>(v)));
  while (r * r < v) ++r;
  while (r > 0 && (r - 1) * (r - 1) >= v) --r;
  return r;
}

}  // namespace

void WorldSlice::simulate(uint32_t tick, SliceEvents& events) {
  entities_.expire_forwards(tick);
  apply_inputs(tick);
  expire_lingering(tick);
  // settle() puts those that need the next tick too back into the list, never beyond the place
  // that is read: each entity is looked at once.
  const uint32_t count = active_count_;
  active_count_ = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const EntitySlot s = active_[i];
    entities_.membership(s).state &= static_cast<uint8_t>(~kActive);
    settle(s, tick, events);
  }
  history_.record(tick, entities_);
}

void WorldSlice::apply_inputs(uint32_t tick) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < input_count_; ++i) {
    const EntitySlot s = inputs_[i].entity;
    if (entities_.control(s).simulated_tick == tick) {
      // It came over in this tick; its last owner has simulated it.
      inputs_[kept++] = inputs_[i];
      continue;
    }
    --entities_.membership(s).queued;
    if (entities_.membership(s).state & (kOutOfCell | kRemote)) continue;
    apply(s, inputs_[i].input, tick);
  }
  input_count_ = kept;
}

void WorldSlice::apply(EntitySlot s, const Input& received, uint32_t tick) {
  Image& image = entities_.image(s);
  Control& control = entities_.control(s);
  Membership& membership = entities_.membership(s);
  if (static_cast<int32_t>(received.client_tick - control.client_tick) < 0) {
    // Overtaken on its way through a former owner: what is newer holds.
    ++counters_.inputs_stale;
    return;
  }
  control.client_tick = received.client_tick;
  membership.state |= kResultPending | kAcknowledges;
  activate(s);
  Input input = received;
  if (input.has & Input::kSteer) steer(image.position, &input);
  if (hooks_ != nullptr) {
    if (const uint16_t refused = hooks_->before_input(s, &input); refused != 0) {
      control.reason = refused;
      membership.state |= kCorrected;
      ++counters_.inputs_refused_hook;
      return;
    }
  }
  if (input.has & Input::kPosition) {
    const uint16_t reason = check_move(control, image.position, input.position, tick);
    if (reason != 0) {
      ++control.violations;
      if (hooks_ == nullptr || hooks_->on_violation(s, input, reason) == Verdict::kCorrect) {
        control.reason = reason;
        membership.state |= kCorrected;
        ++(reason == kReasonSpeed ? counters_.inputs_refused_speed
                                  : counters_.inputs_refused_bounds);
        return;
      }
      ++counters_.violations_forgiven;
      input.position = scale_.clamp(input.position);
    }
  }
  ++counters_.inputs_applied;
  const uint8_t changed = change_image(s, input, input.position);
  if (hooks_ != nullptr && changed != 0) hooks_->changed(s, changed);
}

// From a direction to the place and the velocity it gives, inside of the bounds.
void WorldSlice::steer(const Steps3& from, Input* input) const {
  wire::SteerSample sample;
  for (int i = 0; i < 3; ++i) sample.direction[i] = static_cast<int8_t>(input->velocity[i]);
  const Steps3 moved = wire::steer_steps(sample, input->client_tick, scale_.steer_speed);
  Steps3 to = from;
  for (size_t i = 0; i < 3; ++i) to[i] += moved[i];
  input->position = scale_.clamp(to);
  for (int i = 0; i < 3; ++i) {
    input->velocity[i] = wire::to_velocity(static_cast<float>(input->velocity[i]) *
                                           scale_.steer_metres / wire::kSteerFull);
  }
  input->has |= Input::kPosition | Input::kVelocity;
}

// Takes over what the input has, `position` in place of its own. Returns ChangedField bits.
uint8_t WorldSlice::change_image(EntitySlot s, const Input& input, const Steps3& position) {
  Image& image = entities_.image(s);
  uint8_t changed = 0;
  if ((input.has & Input::kPosition) != 0 && image.position != position) {
    image.position = position;
    changed |= kChangedPosition;
  }
  if ((input.has & Input::kYaw) != 0 && image.yaw != input.yaw) {
    image.yaw = input.yaw;
    changed |= kChangedYaw;
  }
  if ((input.has & Input::kVelocity) != 0 &&
      std::memcmp(image.velocity, input.velocity, sizeof image.velocity) != 0) {
    std::memcpy(image.velocity, input.velocity, sizeof image.velocity);
    changed |= kChangedVelocity;
  }
  if (image.flags != input.flags) {
    image.flags = input.flags;
    changed |= kChangedFlags;
  }
  if (changed == 0) return 0;
  mark_changed(image, changed);
  cells_.touch(entities_.membership(s));
  return changed;
}

// 0, or the error code that refuses the move. An accepted move is taken off the budget, which
// grows with the ticks and holds half a second: lag may bunch inputs, it cannot add up.
uint16_t WorldSlice::check_move(Control& control, const Steps3& from, const Steps3& to,
                                uint32_t tick) const {
  if (!scale_.in_bounds(to)) return kReasonBounds;
  const uint64_t earned = uint64_t{tick - control.budget_tick} * scale_.budget_per_tick;
  control.budget_tick = tick;
  control.budget = earned >= scale_.budget_max - control.budget
                       ? scale_.budget_max
                       : control.budget + static_cast<uint32_t>(earned);
  uint64_t squares = 0;
  for (int i = 0; i < 3; ++i) {
    const int64_t d = int64_t{to[i]} - from[i];
    if (d > (1 << 22) || d < -(1 << 22)) return kReasonSpeed;  // keeps the square in range
    squares += static_cast<uint64_t>(d * d);
  }
  const uint64_t distance = ceil_sqrt(squares << 16);  // 1/256 step
  if (distance > control.budget) return kReasonSpeed;
  control.budget -= static_cast<uint32_t>(distance);
  return 0;
}

void WorldSlice::expire_lingering(uint32_t tick) {
  if (lingering_ == 0 || static_cast<int32_t>(tick - linger_check_) < 0) return;
  bool more = false;
  for (EntitySlot s = 0; s < entities_.high_water(); ++s) {
    const uint32_t deadline = entities_.control(s).linger_deadline;
    if (!entities_.live(s) || deadline == 0) continue;
    if (static_cast<int32_t>(tick - deadline) >= 0) {
      end_linger(s);
      entities_.membership(s).state |= kLeaving;
      activate(s);
    } else if (!more || static_cast<int32_t>(deadline - linger_check_) < 0) {
      linger_check_ = deadline;
      more = true;
    }
  }
}

void WorldSlice::settle(EntitySlot s, uint32_t tick, SliceEvents& events) {
  Control& control = entities_.control(s);
  if (control.simulated_tick != tick) {
    control.simulated_tick = tick;
    if (entities_.membership(s).state & (kLeaving | kOutOfCell)) {
      leave_world(s, tick, events);
      return;
    }
    const CellKey to = scale_.cell_of(entities_.image(s).position);
    const CellKey at = cells_.cell(entities_.membership(s).cell).key;
    if (to != at) {
      const ShardId owner = owners_.owner(to);
      const bool crossed =
          owner == self_ ? cross(s, to, tick, events) : hand_over(s, owner, tick, events);
      if (crossed && owner != self_) return;
      if (!crossed) {
        ++counters_.transfers_postponed;
        activate(s);
      }
    }
  } else {
    activate(s);
  }
  if ((entities_.membership(s).state & kCameWithCell) != 0) tell_taken(s, events);
  report(s, tick, events);
}

// Into another cell of this slice. False: not in this tick.
bool WorldSlice::cross(EntitySlot s, CellKey to, uint32_t tick, SliceEvents&) {
  Membership& membership = entities_.membership(s);
  if (!cells_.may_leave(membership.cell) || !cells_.has_room(to)) return false;
  const CellKey from = cells_.cell(membership.cell).key;
  mark_changed(entities_.image(s), kChangedPosition);
  const bool known = cells_.leave(entities_, s, &to, tick);
  cells_.enter(cells_.obtain(to), entities_, s, known ? &from : nullptr, tick);
  return true;
}

// To the slice that owns the cell it went to. The receiver tells the connection's shard.
bool WorldSlice::hand_over(EntitySlot s, ShardId owner, uint32_t tick, SliceEvents& events) {
  Membership& membership = entities_.membership(s);
  if (!cells_.may_leave(membership.cell)) return false;
  Image& image = entities_.image(s);
  const CellKey to = scale_.cell_of(image.position);
  const EntityId id = entities_.id(s);
  const std::string_view name = entities_.player_id(s);

  uint8_t bytes[kTransferBytesMax];
  TransferRecord record{};
  record.image = image;
  mark_changed(record.image, kChangedPosition);
  record.control = entities_.control(s);
  record.id = id.value;
  record.from = cells_.cell(membership.cell).key;
  record.known = membership.entered == 0;
  record.state = membership.state & kTravellingState;
  record.name_bytes = static_cast<uint8_t>(name.size());
  record.custom_bytes = entities_.has_custom() ? entities_.custom(s).whole_bytes : uint8_t{0};
  const size_t past = sizeof record + name.size() + record.custom_bytes;
  record.samples = static_cast<uint8_t>(export_past(s, tick, bytes + past));
  std::memcpy(bytes, &record, sizeof record);
  std::memcpy(bytes + sizeof record, name.data(), name.size());
  if (record.custom_bytes != 0) {
    std::memcpy(bytes + sizeof record + name.size(), entities_.custom(s).whole,
                record.custom_bytes);
  }
  if (!events.transfer(owner, {bytes, past + record.samples * sizeof(HistorySample)})) return false;

  cells_.leave(entities_, s, &to, tick);
  end_linger(s);
  history_.end(s);
  entities_.remove(s);
  entities_.forward(id, owner, tick);
  ++counters_.transfers_out;
  return true;
}

// The past that travels: the newest samples and, last, where it stands in this tick, which only
// the receiver records. Returns how many.
uint32_t WorldSlice::export_past(EntitySlot s, uint32_t tick, uint8_t* out) const {
  if (history_.depth() == 0) return 0;
  HistorySample samples[History::kTravelMax];
  uint32_t n = history_.samples(s, tick - 1, {samples, History::kTravelMax - 1});
  const Image& image = entities_.image(s);
  samples[n++] = HistorySample{image.position, image.flags, image.yaw, {}};
  std::memcpy(out, samples, n * sizeof(HistorySample));
  return n;
}

EntityId WorldSlice::arrive(base::Bytes bytes, uint32_t tick, SliceEvents& events) {
  TransferRecord record;
  TG_ASSERT(bytes.size() >= sizeof record);
  std::memcpy(&record, bytes.data(), sizeof record);
  const size_t past = sizeof record + record.name_bytes + size_t{record.custom_bytes};
  TG_ASSERT(bytes.size() == past + record.samples * sizeof(HistorySample));
  const CellKey to = scale_.cell_of(record.image.position);
  TG_ASSERT(owners_.owner(to) == self_);
  const EntityId id{record.id};
  const EntitySlot s =
      has_room(record.image.kind) && cells_.has_room(to)
          ? entities_.add(id, base::as_text(bytes.subspan(sizeof record, record.name_bytes)),
                          record.image.kind)
          : kNoEntity;
  if (s == kNoEntity) {
    ++counters_.arrivals_refused;
    return EntityId::none();
  }
  entities_.image(s) = record.image;
  if (record.custom_bytes != 0 && entities_.has_custom()) {
    // Dirty: what was not told before it left is told with the crossing.
    entities_.custom(s).set(bytes.subspan(sizeof record + record.name_bytes, record.custom_bytes),
                            {});
  }
  TG_ASSERT(record.samples <= History::kTravelMax);
  HistorySample samples[History::kTravelMax];
  std::memcpy(samples, bytes.data() + past, record.samples * sizeof(HistorySample));
  history_.import(s, tick, {samples, record.samples});
  Control& control = entities_.control(s);
  control = record.control;
  control.simulated_tick = tick;
  if (control.linger_deadline != 0) count_linger(control.linger_deadline);
  cells_.enter(cells_.obtain(to), entities_, s, record.known ? &record.from : nullptr, tick);
  entities_.membership(s).state = static_cast<uint8_t>(record.state | kResultPending);
  if (record.state & kLeaving) activate(s);
  ++counters_.transfers_in;
  report(s, tick, events);
  return id;
}

void WorldSlice::report(EntitySlot s, uint32_t tick, SliceEvents& events) {
  Membership& membership = entities_.membership(s);
  if ((membership.state & kResultPending) == 0) return;
  Control& control = entities_.control(s);
  if (control.connection.valid()) {
    const Image& image = entities_.image(s);
    MoveResult result{};
    result.entity = entities_.id(s);
    result.client_tick = control.client_tick;
    result.server_tick = tick;
    result.position = image.position;
    std::memcpy(result.velocity, image.velocity, sizeof result.velocity);
    result.corrected = (membership.state & kCorrected) != 0;
    result.reason = result.corrected ? control.reason : uint16_t{0};
    result.acknowledges = (membership.state & kAcknowledges) != 0;
    result.owner = self_;
    if (!events.moved(control.connection_shard, control.connection, result)) {
      activate(s);
      return;
    }
  }
  membership.state &= static_cast<uint8_t>(~(kResultPending | kCorrected | kAcknowledges));
}

// Out of its cell, then out of the table once the home shard has taken the notice.
void WorldSlice::leave_world(EntitySlot s, uint32_t tick, SliceEvents& events) {
  Membership& membership = entities_.membership(s);
  if ((membership.state & kOutOfCell) == 0) {
    if (!cells_.may_leave(membership.cell)) {
      activate(s);
      return;
    }
    cells_.leave(entities_, s, nullptr, tick);
    membership.state |= kOutOfCell;
    end_linger(s);
  }
  if (!events.gone(entities_.id(s), entities_.player_id(s), entities_.image(s).position)) {
    activate(s);
    return;
  }
  history_.end(s);
  entities_.remove(s);
  ++counters_.gone;
}

}  // namespace tidegate::world
