// SPDX-License-Identifier: Apache-2.0
// The protobuf half of CellEncoder: ZONE_UPDATE and INTEREST_UPDATE chunks, and bare pieces of a
// WORLD_STATE. What a watcher must be told of a crossing depends on whether it sees the other cell
// too; each case is a chunk of its own, so the choice costs a watcher one comparison.
#include "wire/quantise.h"
#include "world/cell_encoder.h"

namespace tidegate::world {

namespace {

// Field numbers of EntitySpawn, EntityUpdate and InterestUpdate.
constexpr uint32_t kSpawnState = 1;
constexpr uint32_t kSpawnKind = 2;
constexpr uint32_t kSpawnCustom = 3;
constexpr uint32_t kUpdateDelta = 1;
constexpr uint32_t kUpdateCustom = 2;
// A whole state, or a spawn without custom state, at its largest.
constexpr uint32_t kStateBytesMax = 216;
constexpr uint32_t kEnteredView = 1;
constexpr uint32_t kExitedView = 2;

uint32_t snapshot_field(EntityKind kind) {
  return kind == EntityKind::kPlayer ? wire::kSnapshotPlayers
         : kind == EntityKind::kNpc  ? wire::kSnapshotNpcs
                                     : wire::kSnapshotObjects;
}

}  // namespace

wire::Vector3 CellEncoder::metres(const Steps3& p) const {
  return {wire::to_metres(p[0], scale_.metres_per_step),
          wire::to_metres(p[1], scale_.metres_per_step),
          wire::to_metres(p[2], scale_.metres_per_step)};
}

wire::PlayerStateUpdate CellEncoder::whole_state(const Cell& cell, EntitySlot s) const {
  const Image& image = entities_.image(s);
  wire::PlayerStateUpdate m;
  m.player_id = entities_.player_id(s);
  m.position = metres(shown_position(cell.key, image));
  m.rotation = rotations_[image.yaw];
  m.velocity = {wire::from_velocity(image.velocity[0]), wire::from_velocity(image.velocity[1]),
                wire::from_velocity(image.velocity[2])};
  m.state_flags = image.flags;
  m.timestamp = now_ms_;
  m.tick = tick_;
  m.has_position = m.has_rotation = m.has_velocity = true;
  return m;
}

void CellEncoder::put_spawn(RecordStream& zone, const Cell& cell, EntitySlot s) {
  wire::PbWriter& out = zone.record(1);
  const size_t spawn = out.begin(wire::kZoneSpawns);
  const size_t state = out.begin(kSpawnState);
  wire::encode(out, whole_state(cell, s));
  out.end(state);
  out.varint(kSpawnKind, static_cast<uint32_t>(entities_.image(s).kind));
  if (entities_.has_custom()) out.bytes(kSpawnCustom, entities_.custom(s).state());
  out.end(spawn);
}

void CellEncoder::put_update(RecordStream& zone, const Cell& cell, EntitySlot s, uint8_t fields,
                             uint32_t base_tick, bool chain) {
  const Image& image = entities_.image(s);
  if (fields == 0) return;
  wire::PlayerStateDelta m;
  m.player_id = entities_.player_id(s);
  m.changed_fields = fields & ~uint32_t{kChangedCustom};
  m.position = metres(shown_position(cell.key, image));
  m.rotation = rotations_[image.yaw];
  m.velocity = {wire::from_velocity(image.velocity[0]), wire::from_velocity(image.velocity[1]),
                wire::from_velocity(image.velocity[2])};
  m.state_flags = image.flags;
  m.timestamp = now_ms_;
  m.base_tick = base_tick;
  m.delta_tick = tick_;
  wire::PbWriter& out = zone.record(1);
  const size_t update = out.begin(wire::kZoneUpdates);
  const size_t delta = out.begin(kUpdateDelta);
  wire::encode(out, m);
  out.end(delta);
  if ((fields & kChangedCustom) != 0) {
    // A change is for readers of the chain, who have what was before it.
    const Custom& custom = entities_.custom(s);
    out.bytes(kUpdateCustom, chain ? custom.change() : custom.state());
  }
  out.end(update);
}

// What every watcher of the cell is told at once, whatever its level. An enter that is told late
// counts as new for all: who saw the entity in its old cell may have left that since.
ChunkSpan CellEncoder::protobuf_events(const Cell& cell) {
  builder_.begin();
  const auto spawned = [&](const CellEvent& e) {
    return e.kind == CellEvent::kEnter && (!e.has_other || e.tick != tick_);
  };
  const auto despawned = [](const CellEvent& e) {
    return e.kind == CellEvent::kLeave && !e.has_other;
  };
  {
    RecordStream zone(builder_, wire::MessageType::kZoneUpdate, now_ms_, zone_);
    bool despawns = false;
    for (uint32_t e = cell.first_event; e != kNone; e = cells_.event(e).next) {
      const CellEvent& event = cells_.event(e);
      if (!despawned(event)) continue;
      zone.record(1).put_text(wire::kZoneDespawns, cells_.event_name(event));
      despawns = true;
    }
    bool spawns = false;
    for (uint32_t e = cell.first_event; e != kNone; e = cells_.event(e).next) {
      const CellEvent& event = cells_.event(e);
      if (!spawned(event)) continue;
      // A player may leave and come back in one tick: two frames keep that order.
      if (despawns && !spawns) zone.close();
      spawns = true;
      put_spawn(zone, cell, event.member);
    }
  }
  RecordStream interest(builder_, wire::MessageType::kInterestUpdate, now_ms_, {});
  for (uint32_t e = cell.first_event; e != kNone; e = cells_.event(e).next) {
    const CellEvent& event = cells_.event(e);
    if (spawned(event)) {
      interest.record(0).put_text(kEnteredView, entities_.player_id(event.member));
    } else if (despawned(event)) {
      interest.record(0).put_text(kExitedView, cells_.event_name(event));
    }
  }
  interest.close();
  return builder_.finish();
}

// Changes of this tick. Who entered in it was told whole.
ChunkSpan CellEncoder::protobuf_chain(const Cell& cell) {
  builder_.begin();
  RecordStream zone(builder_, wire::MessageType::kZoneUpdate, now_ms_, zone_);
  const uint32_t base_tick = cell.skipped ? cell.base_tick : tick_ - 1;
  cells_.for_each_changed(cell, [&](uint16_t, EntitySlot s) {
    if (entities_.membership(s).entered != 0) return;
    put_update(zone, cell, s, entities_.image(s).changed, base_tick, true);
  });
  zone.close();
  return builder_.finish();
}

// What changed since the layer's reference, as it is now.
ChunkSpan CellEncoder::protobuf_layer(const Cell& cell, uint8_t layer) {
  builder_.begin();
  RecordStream zone(builder_, wire::MessageType::kZoneUpdate, now_ms_, zone_);
  const bool from_half = layer == 2 && cell.half;
  const auto put = [&](uint16_t, EntitySlot s) {
    if (entities_.membership(s).entered != 0) return;
    const Image& image = entities_.image(s);
    put_update(zone, cell, s, from_half ? image.changed_half : image.changed_anchor,
               from_half ? cell.half_tick : cell.anchor_tick, false);
  };
  if (from_half) {
    cells_.for_each_since_half(cell, put);
  } else {
    cells_.for_each_since_anchor(cell, put);
  }
  zone.close();
  return builder_.finish();
}

// One entry for each other cell and kind. With `out` null: how many there can be at most.
uint32_t CellEncoder::protobuf_crossings(const Cell& cell, CrossingChunks* out) {
  uint32_t count = 0;
  for (uint32_t e = cell.first_event; e != kNone; e = cells_.event(e).next) {
    const CellEvent& event = cells_.event(e);
    const bool enters = event.kind == CellEvent::kEnter;
    if (!event.has_other || (enters && event.tick != tick_)) continue;
    if (out == nullptr) {
      count += enters ? 2 : 1;
      continue;
    }
    const CrossingKind kind = enters ? CrossingKind::kIn : CrossingKind::kOut;
    bool known = false;
    for (uint32_t i = 0; i < count && !known; ++i) {
      known = out[i].other == event.other && out[i].kind == kind;
    }
    if (known) continue;
    const auto add = [&](CrossingKind k) {
      out[count] = {event.other, k, {}, protobuf_crossing(cell, event.other, k)};
      if (out[count].chunks.count != 0 || k != CrossingKind::kMove) ++count;
      return !builder_.failed();
    };
    if (!add(kind)) return count;
    if (enters && !add(CrossingKind::kMove)) return count;
  }
  return count;
}

ChunkSpan CellEncoder::protobuf_crossing(const Cell& cell, CellKey other, CrossingKind kind) {
  builder_.begin();
  const auto concerns = [&](const CellEvent& e) {
    const bool enters = e.kind == CellEvent::kEnter;
    return e.has_other && e.other == other && enters == (kind != CrossingKind::kOut) &&
           (!enters || e.tick == tick_);
  };
  {
    RecordStream zone(builder_, wire::MessageType::kZoneUpdate, now_ms_, zone_);
    for (uint32_t e = cell.first_event; e != kNone; e = cells_.event(e).next) {
      const CellEvent& event = cells_.event(e);
      if (!concerns(event)) continue;
      switch (kind) {
        case CrossingKind::kOut:
          zone.record(1).put_text(wire::kZoneDespawns, cells_.event_name(event));
          break;
        case CrossingKind::kIn:
          put_spawn(zone, cell, event.member);
          break;
        case CrossingKind::kMove:
          // Who saw it seldom in its old cell learns all that it missed there.
          put_update(
              zone, cell, event.member,
              entities_.image(event.member).changed | entities_.image(event.member).changed_anchor,
              tick_ - 1, false);
          break;
      }
    }
  }
  if (kind != CrossingKind::kMove) {
    RecordStream interest(builder_, wire::MessageType::kInterestUpdate, now_ms_, {});
    for (uint32_t e = cell.first_event; e != kNone; e = cells_.event(e).next) {
      const CellEvent& event = cells_.event(e);
      if (!concerns(event)) continue;
      if (kind == CrossingKind::kOut) {
        interest.record(0).put_text(kExitedView, cells_.event_name(event));
      } else {
        interest.record(0).put_text(kEnteredView, entities_.player_id(event.member));
      }
    }
  }
  return builder_.finish();
}

// All members, in pieces of at most kPieceMembers that fit a chunk: piece i of the spawns and piece
// i of the world are the same entities, so a watcher may take some as the one and the rest as the
// other.
ChunkSpan CellEncoder::protobuf_members(const Cell& cell, Request request) {
  builder_.begin();
  constexpr uint32_t kPieceBytesMax = kChunkBytesMax - 2 * RecordStream::kRecordBytesMax;
  static_assert(kPieceMembers * kStateBytesMax < kPieceBytesMax);
  EntitySlot piece[kPieceMembers];
  uint32_t in_piece = 0;
  uint32_t piece_bytes = 0;
  const auto write_piece = [&] {
    builder_.cut();
    if (request == kProtobufWorld) {
      const base::MutableBytes room = builder_.room();
      wire::PbWriter out(room);
      for (uint32_t i = 0; i < in_piece; ++i) {
        const size_t mark = out.begin(snapshot_field(entities_.image(piece[i]).kind));
        wire::encode(out, whole_state(cell, piece[i]));
        out.end(mark);
      }
      if (out.overflow()) builder_.fail();
      if (!builder_.failed()) builder_.add(static_cast<uint32_t>(out.size()), in_piece);
    } else {
      const bool spawns = request == kProtobufSpawns;
      {
        RecordStream zone(builder_, wire::MessageType::kZoneUpdate, now_ms_, zone_);
        for (uint32_t i = 0; i < in_piece; ++i) {
          if (spawns) {
            put_spawn(zone, cell, piece[i]);
          } else {
            zone.record(1).put_text(wire::kZoneDespawns, entities_.player_id(piece[i]));
          }
        }
      }
      RecordStream interest(builder_, wire::MessageType::kInterestUpdate, now_ms_, {});
      for (uint32_t i = 0; i < in_piece; ++i) {
        interest.record(0).put_text(spawns ? kEnteredView : kExitedView,
                                    entities_.player_id(piece[i]));
      }
    }
    in_piece = 0;
    piece_bytes = 0;
  };
  cells_.for_each_member(cell, [&](uint16_t, EntitySlot s) {
    const uint32_t bytes =
        kStateBytesMax + (entities_.has_custom() ? 4u + entities_.custom(s).whole_bytes : 0u);
    if (in_piece == kPieceMembers || piece_bytes + bytes > kPieceBytesMax) write_piece();
    piece[in_piece++] = s;
    piece_bytes += bytes;
  });
  if (in_piece != 0) write_piece();
  return builder_.finish();
}

}  // namespace tidegate::world
