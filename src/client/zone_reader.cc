// SPDX-License-Identifier: Apache-2.0
#include "client/zone_reader.h"

namespace tidegate::client {

using wire::PbReader;
using wire::WireType;

namespace {

// Of WorldStateSnapshot, beside its entities.
constexpr uint32_t kSnapshotTick = 1;
constexpr uint32_t kSnapshotZone = 3;
constexpr uint32_t kSnapshotEnvironment = 7;

bool read_spawn(base::Bytes bytes, ZoneVisitor& visitor) {
  wire::PlayerStateUpdate state;
  uint32_t kind = 0;
  base::Bytes custom;
  PbReader reader(bytes);
  while (reader.next()) {
    if (reader.field() == 1) {
      if (!reader.is(WireType::kBytes) || !wire::decode(reader.bytes(), &state)) return false;
    } else if (reader.field() == 2) {
      if (!reader.is(WireType::kVarint)) return false;
      kind = static_cast<uint32_t>(reader.varint());
    } else if (reader.field() == 3) {
      if (!reader.is(WireType::kBytes)) return false;
      custom = reader.bytes();
    }
  }
  if (reader.failed()) return false;
  visitor.on_spawn(state, kind, custom, false);
  return true;
}

bool read_update(base::Bytes bytes, ZoneVisitor& visitor) {
  wire::PlayerStateDelta delta;
  base::Bytes custom;
  PbReader reader(bytes);
  while (reader.next()) {
    if (reader.field() > 2) continue;
    if (!reader.is(WireType::kBytes)) return false;
    if (reader.field() == 2) {
      custom = reader.bytes();
    } else if (!wire::decode(reader.bytes(), &delta)) {
      return false;
    }
  }
  if (reader.failed()) return false;
  visitor.on_update(delta, custom);
  return true;
}

}  // namespace

bool read_world_state(base::Bytes payload, ZoneVisitor& visitor) {
  PbReader reader(payload);
  while (reader.next()) {
    const uint32_t field = reader.field();
    if (field == kSnapshotTick) {
      if (!reader.is(WireType::kVarint)) return false;
      visitor.on_snapshot_tick(static_cast<uint32_t>(reader.varint()));
      continue;
    }
    if (field < kSnapshotZone || field > kSnapshotEnvironment) continue;
    if (!reader.is(WireType::kBytes)) return false;
    if (field == kSnapshotZone) {
      visitor.on_zone(reader.text());
    } else if (field == kSnapshotEnvironment) {
      visitor.on_environment(reader.bytes());
    } else {
      wire::PlayerStateUpdate state;
      if (!wire::decode(reader.bytes(), &state)) return false;
      visitor.on_spawn(state, field - wire::kSnapshotPlayers, {}, true);
    }
  }
  return !reader.failed();
}

bool read_zone_update(base::Bytes payload, ZoneVisitor& visitor) {
  PbReader reader(payload);
  while (reader.next()) {
    const uint32_t field = reader.field();
    if (field < wire::kZoneId || field > wire::kZoneEnvironment) continue;
    if (!reader.is(WireType::kBytes)) return false;
    bool good = true;
    switch (field) {
      case wire::kZoneId:
        visitor.on_zone(reader.text());
        break;
      case wire::kZoneSpawns:
        good = read_spawn(reader.bytes(), visitor);
        break;
      case wire::kZoneDespawns:
        visitor.on_despawn(reader.text());
        break;
      case wire::kZoneUpdates:
        good = read_update(reader.bytes(), visitor);
        break;
      default:
        visitor.on_environment(reader.bytes());
        break;
    }
    if (!good) return false;
  }
  return !reader.failed();
}

}  // namespace tidegate::client
