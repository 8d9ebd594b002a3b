// SPDX-License-Identifier: Apache-2.0
#include "world/cell_encoder.h"

#include <algorithm>

#include "wire/quantise.h"

namespace tidegate::world {

size_t tick_arena_bytes(uint32_t entities, uint32_t cells) {
  // Packed delta, enter and keyframe record, protobuf update, spawn, world and despawn record at
  // about their largest; and what each cell's frames cost by themselves.
  constexpr size_t kEntityBytes = 24 + 2 * 128 + 128 + 2 * 216 + 2 * 72;
  constexpr size_t kCellBytes = 1024;
  return (size_t{1} << 20) + entities * kEntityBytes + std::min(cells, entities * 8) * kCellBytes;
}

CellEncoder::CellEncoder(const WorldConfig& config, const WorldScale& scale, EntityTable& entities,
                         CellStreams& cells, TickArena& arena)
    : scale_(scale),
      entities_(entities),
      cells_(cells),
      arena_(arena),
      builder_(arena),
      zone_(config.zone_id),
      checksum_ticks_(std::max(1u, config.tick_rate / kChecksumsPerSecond)),
      members_(config.entities),
      leaves_(config.entities),
      changes_(config.entities) {
  for (uint32_t yaw = 0; yaw < 256; ++yaw) {
    rotations_[yaw] = wire::from_yaw(static_cast<uint8_t>(yaw));
  }
}

Steps3 CellEncoder::shown_position(CellKey cell, const Image& image) const {
  Steps3 p = image.position;
  const int32_t x = cell.x * scale_.cell_steps;
  const int32_t z = cell.z * scale_.cell_steps;
  p[0] = std::clamp(p[0], x, x + scale_.cell_steps - 1);
  p[2] = std::clamp(p[2], z, z + scale_.cell_steps - 1);
  return p;
}

bool CellEncoder::encode(uint32_t c, uint32_t tick, base::UnixMs now_ms, PublicationSink& sink) {
  Cell& cell = cells_.cell(c);
  tick_ = tick;
  now_ms_ = now_ms;
  const bool changed = cell.changed || cell.first_event != kNone;
  uint64_t readers = 0;
  Publication p;
  p.cell = cell.key;
  p.tick = tick;
  if (changed) {
    readers = cell.packed_readers | cell.protobuf_readers;
    if (readers != 0) {
      const size_t mark = arena_.mark();
      if (!encode_change(cell, p)) {
        arena_.rewind(mark);
        if (!cell.skipped) cell.base_tick = tick - 1;
        cell.skipped = true;
        ++counters_.skipped;
        return false;
      }
      ++counters_.frames;
      if (checksum_due(cell)) cell.checksum_tick = tick;
    }
    commit_change(c);
  }
  if (cell.requests != 0) answer_requests(cell, p);
  if (p.answered != 0) readers |= cell.requesters;
  if (cell.requests == 0) cell.requesters = 0;
  for (; readers != 0; readers &= readers - 1) {
    sink.publish({static_cast<uint16_t>(__builtin_ctzll(readers))}, p);
    ++counters_.publications;
  }
  const bool done = cell.requests == 0 && !cell.changed;
  if (done) cells_.release_if_unused(c);
  return done;
}

bool CellEncoder::encode_change(const Cell& cell, Publication& p) {
  uint64_t records = 0;
  for (uint32_t e = cell.first_event; e != kNone; e = cells_.event(e).next) ++records;
  cells_.for_each_changed(cell, [&](uint16_t, EntitySlot) { ++records; });
  if (cell.packed_readers != 0) {
    p.packed_delta = packed_delta(cell);
    if (builder_.failed()) return false;
  }
  uint64_t protobuf_bytes = 0;
  if (cell.protobuf_readers != 0) {
    p.protobuf_delta = protobuf_delta(cell);
    if (builder_.failed()) return false;
    protobuf_bytes += p.protobuf_delta.bytes;
    const uint32_t most = protobuf_crossings(cell, nullptr);
    if (most != 0) {
      auto* const crossings = arena_.take<CrossingChunks>(most);
      if (crossings == nullptr) return false;
      p.crossings = crossings;
      p.crossing_count = protobuf_crossings(cell, crossings);
      if (builder_.failed()) return false;
      for (uint32_t i = 0; i < p.crossing_count; ++i) protobuf_bytes += crossings[i].chunks.bytes;
    }
  }
  counters_.records += records;
  counters_.packed_bytes += p.packed_delta.bytes;
  counters_.protobuf_bytes += protobuf_bytes;
  return true;
}

// Watchers now stand where the entities are.
void CellEncoder::commit_change(uint32_t c) {
  const Cell& cell = cells_.cell(c);
  const auto commit = [&](EntitySlot s) {
    Image& image = entities_.image(s);
    const Steps3 shown = shown_position(cell.key, image);
    if (shown != image.base) {
      for (int i = 0; i < 3; ++i) image.predictor[i] = shown[i] - image.base[i];
    }
    image.base = shown;
    image.base_yaw = image.yaw;
    image.changed = 0;
    if (entities_.has_custom()) entities_.custom(s).dirty = Custom::kClean;
  };
  cells_.for_each_changed(cell, [&](uint16_t, EntitySlot s) { commit(s); });
  for (uint32_t e = cell.first_event; e != kNone; e = cells_.event(e).next) {
    if (cells_.event(e).kind == CellEvent::kEnter) commit(cells_.event(e).member);
  }
  cells_.finish_frame(c, entities_);
}

void CellEncoder::answer_requests(Cell& cell, Publication& p) {
  const auto answer = [&](Request request, ChunkSpan& span, auto&& write) {
    if ((cell.requests & request) == 0) return;
    const size_t mark = arena_.mark();
    span = write();
    if (builder_.failed()) {
      arena_.rewind(mark);
      span = {};
      ++counters_.requests_put_off;
      return;
    }
    cell.requests = static_cast<uint8_t>(cell.requests & ~request);
    p.answered = static_cast<uint8_t>(p.answered | request);
    counters_.request_bytes += span.bytes;
  };
  answer(kPackedDrop, p.packed_drop, [&] { return packed_drop(cell); });
  answer(kProtobufDespawns, p.protobuf_despawns,
         [&] { return protobuf_members(cell, kProtobufDespawns); });
  answer(kPackedKeyframe, p.packed_keyframe, [&] { return packed_keyframe(cell); });
  answer(kProtobufSpawns, p.protobuf_spawns,
         [&] { return protobuf_members(cell, kProtobufSpawns); });
  answer(kProtobufWorld, p.protobuf_world, [&] { return protobuf_members(cell, kProtobufWorld); });
  // A WORLD_STATE has no place for custom state: the next tick's updates bring it.
  if (entities_.has_custom() && (p.answered & kProtobufWorld) != 0) {
    cells_.for_each_member(cell, [&](uint16_t, EntitySlot s) {
      Custom& custom = entities_.custom(s);
      if (custom.whole_bytes == 0) return;
      custom.dirty = Custom::kWhole;
      cells_.mark(entities_.membership(s));
    });
  }
}

size_t CellEncoder::bytes() const {
  return members_.bytes() + leaves_.bytes() + changes_.bytes() +
         ChunkBuilder::kChunksMax * sizeof(Chunk) + sizeof *this;
}

}  // namespace tidegate::world
