// SPDX-License-Identifier: Apache-2.0
#include "world/cell_encoder.h"

#include <algorithm>

#include "wire/quantise.h"

namespace tidegate::world {

size_t tick_arena_bytes(uint32_t entities, uint32_t cells) {
  // Packed deltas and enters of chain and layer, keyframe record, protobuf updates, spawn, world
  // and despawn record at about their largest; and what each cell's frames cost by themselves.
  constexpr size_t kEntityBytes = 2 * 24 + 3 * 144 + 2 * 128 + 2 * 216 + 2 * 72;
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
      changes_(config.entities),
      due_(config.entities) {
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
  if (cell.taken_tick == tick) return false;  // its last owner has told this tick
  tick_ = tick;
  now_ms_ = now_ms;
  const bool read = (cell.packed_readers | cell.protobuf_readers) != 0;
  const bool changed = cell.changed || cell.first_event != kNone;
  const bool events = cell.first_event != kNone;
  const uint8_t layer =
      tick == anew_tick_ ? uint8_t{0} : layer_of_phase(layer_phase(cell.key, tick));
  frame_ = cell.frame + (changed ? 1 : 0);
  Publication p;
  p.cell = cell.key;
  p.tick = tick;
  const size_t mark = arena_.mark();
  const bool layer_done = read && layer != kNoLayer && encode_layer(cell, layer, p);
  anchors_ = layer_done && layer == 0;
  checksums_ = anchors_ && checksum_due(cell);
  const bool chain_due = changed || (anchors_ && cell.dirty && cell.packed_at[kFullLevel] != 0);
  if (read && chain_due) {
    if (!encode_change(cell, p)) {
      arena_.rewind(mark);
      if (!cell.skipped) cell.base_tick = tick - 1;
      cell.skipped = true;
      ++counters_.skipped;
      return false;
    }
    ++counters_.frames;
  }
  if (checksums_ && cell.dirty) cell.checksum_tick = tick;
  if (changed) commit_change(c);
  rebased_ = false;
  if (layer_done) commit_layer(cell, layer);
  if (cell.requests != 0) answer_requests(cell, p);
  if (rebased_ && (p.answered & kPackedKeyframe) != 0) {
    p.flags |= kRebased;
  } else if (rebased_) {
    cells_.lose_anchor(cell);
  }
  p.members = cell.members;
  for (uint64_t readers = readers_of(cell, p, events); readers != 0; readers &= readers - 1) {
    sink.publish({static_cast<uint16_t>(__builtin_ctzll(readers))}, p);
    ++counters_.publications;
  }
  if (cell.requests == 0) cell.requesters = 0;
  if (cell.requests != 0 || (read && cell.dirty)) return false;
  cells_.release_if_unused(c);
  return true;
}

// Shards to which the publication brings something.
uint64_t CellEncoder::readers_of(const Cell& cell, const Publication& p, bool events) const {
  constexpr uint8_t kFull = 1 << kFullLevel;
  uint64_t readers = 0;
  if (p.packed_chain.count != 0) readers |= cell.readers_of(cell.packed_at, kFull);
  if (p.protobuf_chain.count != 0) readers |= cell.readers_of(cell.protobuf_at, kFull);
  if (p.layer != kNoLayer) {
    const uint8_t levels = levels_of_layer(p.layer);
    if (p.packed_layer.count != 0) readers |= cell.readers_of(cell.packed_at, levels);
    if (p.protobuf_layer.count != 0) readers |= cell.readers_of(cell.protobuf_at, levels);
  }
  if (events) readers |= cell.protobuf_readers;
  if ((p.flags & kRebased) != 0) readers |= cell.packed_readers;
  if (p.answered != 0) readers |= cell.requesters;
  return readers;
}

// The tick's frame of a layer, in the encodings in which somebody reads it. False: it did not fit,
// the layer is left out.
bool CellEncoder::encode_layer(const Cell& cell, uint8_t layer, Publication& p) {
  const uint8_t levels = levels_of_layer(layer);
  const bool from_half = layer == 2 && cell.half;
  if (!(from_half ? cell.half_dirty : cell.dirty)) return true;
  checksums_ = layer == 0 && checksum_due(cell);
  const size_t mark = arena_.mark();
  bool fits = true;
  if (cell.anchored && cell.readers_of(cell.packed_at, levels) != 0) {
    p.packed_layer = packed_layer(cell, layer);
    fits = !builder_.failed();
  }
  if (fits && cell.readers_of(cell.protobuf_at, levels) != 0) {
    p.protobuf_layer = protobuf_layer(cell, layer);
    fits = !builder_.failed();
  }
  if (!fits) {
    arena_.rewind(mark);
    p.packed_layer = p.protobuf_layer = {};
    ++counters_.layers_left_out;
    return false;
  }
  p.layer = layer;
  if (from_half) p.flags |= kRefersToHalf;
  counters_.packed_bytes += p.packed_layer.bytes;
  counters_.protobuf_bytes += p.protobuf_layer.bytes;
  return true;
}

bool CellEncoder::encode_change(const Cell& cell, Publication& p) {
  constexpr uint8_t kFull = 1 << kFullLevel;
  uint64_t records = 0;
  for (uint32_t e = cell.first_event; e != kNone; e = cells_.event(e).next) ++records;
  cells_.for_each_changed(cell, [&](uint16_t, EntitySlot) { ++records; });
  if (cell.readers_of(cell.packed_at, kFull) != 0) {
    p.packed_chain = packed_chain(cell);
    if (builder_.failed()) return false;
  }
  uint64_t protobuf_bytes = 0;
  if (cell.readers_of(cell.protobuf_at, kFull) != 0) {
    p.protobuf_chain = protobuf_chain(cell);
    if (builder_.failed()) return false;
    protobuf_bytes += p.protobuf_chain.bytes;
  }
  if (cell.protobuf_readers != 0 && cell.first_event != kNone) {
    p.protobuf_events = protobuf_events(cell);
    if (builder_.failed()) return false;
    protobuf_bytes += p.protobuf_events.bytes;
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
  counters_.packed_bytes += p.packed_chain.bytes;
  counters_.protobuf_bytes += protobuf_bytes;
  return true;
}

// Watchers of the chain now stand where the entities are.
void CellEncoder::commit_change(uint32_t c) {
  Cell& cell = cells_.cell(c);
  const auto commit = [&](EntitySlot s, bool entered) {
    ++cell.work;
    Image& image = entities_.image(s);
    const Steps3 shown = shown_position(cell.key, image);
    const bool moved = shown != image.base;
    for (int i = 0; moved && i < 3; ++i) {
      const int32_t step = shown[i] - image.base[i];
      wire::CellTrack track = image.track(i);
      entered ? track.begin(step) : track.follow(step);
      image.set_track(i, track);
    }
    if (entered || moved || image.yaw != image.base_yaw || (image.changed & kChangedFlags) != 0) {
      image.told = tick_;
    }
    image.base = shown;
    image.base_yaw = image.yaw;
    image.changed = 0;
    if (entities_.has_custom()) entities_.custom(s).dirty = Custom::kClean;
  };
  cells_.for_each_changed(
      cell, [&](uint16_t, EntitySlot s) { commit(s, entities_.membership(s).entered != 0); });
  for (uint32_t e = cell.first_event; e != kNone; e = cells_.event(e).next) {
    if (cells_.event(e).kind != CellEvent::kEnter) continue;
    commit(cells_.event(e).member, true);
    Image& image = entities_.image(cells_.event(e).member);
    image.changed_anchor = image.changed_half = 0;  // who sees it was told all of it
  }
  cells_.finish_frame(c, entities_);
}

// The layer's image is what later frames refer to. Behind commit_change(). A cell whose packed
// watchers cannot go on from its last anchor begins anew: all get a keyframe.
void CellEncoder::commit_layer(Cell& cell, uint8_t layer) {
  const auto keep_half = [&](uint16_t, EntitySlot s) {
    Image& image = entities_.image(s);
    LayerBase& base = entities_.layer_base(s);
    base.half = image.base;
    base.half_yaw = image.yaw;
    base.half_flags = image.flags;
    image.changed_half = 0;
  };
  if (layer == 1) {
    const uint8_t levels = levels_of_layer(1);
    if (!cell.dirty || (cell.readers_of(cell.packed_at, levels) |
                        cell.readers_of(cell.protobuf_at, levels)) == 0) {
      return;
    }
    cells_.set_half(cell, tick_, keep_half);
    return;
  }
  if (layer != 0) return;
  // Also when nothing happened: packed readers must have an anchor to go on from.
  rebased_ = !cell.anchored && cell.packed_readers != 0;
  if (!cell.dirty && !rebased_) return;
  const bool anchored = cell.anchored;
  const uint32_t before = cell.anchor_frame;
  cells_.set_anchor(cell, tick_, [&](uint16_t slot, EntitySlot s) {
    Image& image = entities_.image(s);
    LayerBase& base = entities_.layer_base(s);
    if (anchored && cell.holds(entities_.membership(s).since, before) &&
        image.base != base.anchor) {
      for (int i = 0; i < 3; ++i) image.pace[i] = image.base[i] - base.anchor[i];
    }
    base.anchor = image.base;
    base.anchor_yaw = image.yaw;
    base.anchor_flags = image.flags;
    image.changed_anchor = 0;
    keep_half(slot, s);
  });
  if (rebased_) {
    cell.requests |= kPackedKeyframe;
    cell.requesters |= cell.packed_readers;
  }
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
  // A reader of layers goes on from the anchor, and a keyframe is for readers of all levels.
  if ((tick_ == anew_tick_ || is_anchor(cell.key, tick_)) && cell.anchored &&
      cell.anchor_frame == cell.frame) {
    if ((cell.requests & kPackedTracks) != 0) {
      p.packed_tracks = packed_tracks(cell);
      // Of very many members they are cut nowhere: a keyframe does the same.
      if (p.packed_tracks.count == 0) cell.requests |= kPackedKeyframe;
    }
    answer(kPackedKeyframe, p.packed_keyframe, [&] { return packed_keyframe(cell); });
    if ((cell.requests & kPackedTracks) != 0 &&
        (p.packed_tracks.count != 0 || (p.answered & kPackedKeyframe) != 0)) {
      cell.requests = static_cast<uint8_t>(cell.requests & ~kPackedTracks);
      p.answered = static_cast<uint8_t>(p.answered | kPackedTracks);
      counters_.request_bytes += p.packed_tracks.bytes;
    }
  }
  answer(kProtobufSpawns, p.protobuf_spawns,
         [&] { return protobuf_members(cell, kProtobufSpawns); });
  answer(kProtobufWorld, p.protobuf_world, [&] { return protobuf_members(cell, kProtobufWorld); });
  // A WORLD_STATE has no place for custom state: the next tick's updates bring it.
  if (entities_.has_custom() && (p.answered & kProtobufWorld) != 0 && cell.protobuf_readers != 0) {
    cells_.for_each_member(cell, [&](uint16_t, EntitySlot s) {
      Custom& custom = entities_.custom(s);
      if (custom.whole_bytes == 0) return;
      custom.dirty = Custom::kWhole;
      mark_changed(entities_.image(s), kChangedCustom);
      cells_.mark(entities_.membership(s));
    });
  }
}

size_t CellEncoder::bytes() const {
  return members_.bytes() + leaves_.bytes() + changes_.bytes() + due_.bytes() +
         ChunkBuilder::kChunksMax * sizeof(Chunk) + sizeof *this;
}

}  // namespace tidegate::world
