// SPDX-License-Identifier: Apache-2.0
// The packed half of CellEncoder: CELL_FRAME chunks, of the chain (against the image before) and of
// layers (against the anchor or the layer 1). A frame that would not fit one chunk is cut:
// the parts behind the first are deltas that carry the same frame number and refer to it, so that
// the chain goes on as if it were one. Chunks hold frames with their lengths; the head of the
// message is the flush's.
#include <algorithm>
#include <iterator>

#include "world/cell_encoder.h"

namespace tidegate::world {

namespace {
// First attempt at how much goes into one chunk; halved until it fits.
constexpr uint32_t kLeavesInChunk = 8192;
constexpr uint32_t kEntersInChunk = 1024;
constexpr uint32_t kChangesInChunk = 16'384;
}  // namespace

wire::CellFrameHeader CellEncoder::header(const Cell& cell, uint32_t frame) const {
  wire::CellFrameHeader h;
  h.cell_x = cell.key.x;
  h.cell_z = cell.key.z;
  h.frame = frame;
  h.reference = frame;
  h.tick = tick_;
  return h;
}

wire::CellMember CellEncoder::member_record(const Cell& cell, uint16_t slot, EntitySlot s) const {
  const Image& image = entities_.image(s);
  const Steps3 shown = shown_position(cell.key, image);
  wire::CellMember m;
  m.slot = slot;
  m.kind = static_cast<uint8_t>(image.kind);
  m.yaw = image.yaw;
  m.id = entities_.id(s).value;
  m.x = shown[0] - cell.key.x * scale_.cell_steps;
  m.y = shown[1];
  m.z = shown[2] - cell.key.z * scale_.cell_steps;
  for (int i = 0; i < 3; ++i) {
    m.track[i] = image.track(i);
    if (shown != image.base) m.track[i].begin(shown[i] - image.base[i]);
    m.pace[i] = image.pace[i];
  }
  m.flags = image.flags;
  if (entities_.membership(s).entered == 0) {
    m.age = static_cast<uint8_t>(std::min<uint32_t>(tick_ - image.told, wire::kCellAgeMax));
  }
  m.name = entities_.player_id(s);
  return m;
}

uint64_t CellEncoder::checksum(const Cell& cell) {
  checksum_.reset();
  cells_.for_each_member(cell, [&](uint16_t slot, EntitySlot s) {
    const wire::CellRow r = row(cell, slot, s, entities_.image(s));
    checksum_.add(r.slot, r.kind, r.yaw, r.id, r.x, r.y, r.z, r.flags);
  });
  return checksum_.value();
}

wire::CellRow CellEncoder::row(const Cell& cell, uint16_t slot, EntitySlot s,
                               const Image& image) const {
  const Steps3 shown = shown_position(cell.key, image);
  return {slot,
          static_cast<uint8_t>(image.kind),
          image.yaw,
          entities_.id(s).value,
          shown[0] - cell.key.x * scale_.cell_steps,
          shown[1],
          shown[2] - cell.key.z * scale_.cell_steps,
          image.flags};
}

// Writes one frame with its length as a chunk of its own; 0 when it does not fit.
template <class Write>
uint32_t CellEncoder::write_cell_frame(const Write& write, uint32_t entities) {
  builder_.cut();
  const base::MutableBytes room = builder_.room();
  if (room.size() <= wire::kCellLengthRoom) return 0;
  const size_t frame = write(room.subspan(wire::kCellLengthRoom));
  if (frame == 0) return 0;
  const auto bytes = static_cast<uint32_t>(wire::close_cell_frame(room, frame));
  builder_.add(bytes, entities);
  return bytes;
}

void CellEncoder::sort_lists(const PackedLists& n) {
  const auto by_slot = [](const auto& a, const auto& b) { return a.slot < b.slot; };
  std::sort(members_.data(), members_.data() + n.enters, by_slot);
  std::sort(leaves_.data(), leaves_.data() + n.leaves, by_slot);
}

// What happened since the last image of the chain.
CellEncoder::PackedLists CellEncoder::list_chain(const Cell& cell) {
  PackedLists n;
  for (uint32_t e = cell.first_event; e != kNone; e = cells_.event(e).next) {
    const CellEvent& event = cells_.event(e);
    if (event.kind == CellEvent::kEnter) {
      members_[n.enters++] = member_record(cell, event.slot, event.member);
    } else {
      leaves_[n.leaves++] = {event.slot, event.has_other, event.other.x, event.other.z};
    }
  }
  sort_lists(n);
  cells_.for_each_changed(cell, [&](uint16_t slot, EntitySlot s) {
    if (entities_.membership(s).entered != 0) return;
    const Image& image = entities_.image(s);
    const Steps3 shown = shown_position(cell.key, image);
    wire::CellChange change;
    change.slot = slot;
    change.moved = shown != image.base;
    if (change.moved) {
      for (int i = 0; i < 3; ++i) {
        change.residual[i] = shown[i] - image.base[i] - image.track(i).expected();
      }
    }
    change.yaw_delta = static_cast<uint8_t>(image.yaw - image.base_yaw);
    change.flags_changed = (image.changed & kChangedFlags) != 0;
    change.flags = image.flags;
    if (!change.moved && change.yaw_delta == 0 && !change.flags_changed) return;
    changes_[n.changes++] = change;
  });
  return n;
}

// What happened since the anchor or the layer 1.
CellEncoder::PackedLists CellEncoder::list_layer(const Cell& cell, uint8_t layer, bool from_half) {
  PackedLists n;
  const uint32_t reference = from_half ? cell.half_frame : cell.anchor_frame;
  const auto left = [&](uint16_t slot, uint32_t since, bool has_other, CellKey other) {
    if (cell.holds(since, reference)) leaves_[n.leaves++] = {slot, has_other, other.x, other.z};
  };
  for (uint32_t g = cell.first_gone; g != kNone; g = cells_.gone(g).next) {
    const GoneMember& gone = cells_.gone(g);
    if (is_after(gone.left, reference)) left(gone.slot, gone.since, gone.has_other, gone.other);
  }
  for (uint32_t e = cell.first_event; e != kNone; e = cells_.event(e).next) {
    const CellEvent& event = cells_.event(e);
    if (event.kind == CellEvent::kLeave) {
      left(event.slot, event.since, event.has_other, event.other);
    }
  }
  const auto list = [&](uint16_t slot, EntitySlot s) {
    if (!cell.holds(entities_.membership(s).since, reference)) {
      members_[n.enters++] = member_record(cell, slot, s);
      return;
    }
    const wire::CellChange change = change_since(cell, slot, s, layer, from_half);
    if (change.moved || change.yaw_delta != 0 || change.flags_changed) {
      changes_[n.changes++] = change;
    }
  };
  if (from_half) {
    cells_.for_each_since_half(cell, list);
  } else {
    cells_.for_each_since_anchor(cell, list);
  }
  sort_lists(n);
  return n;
}

wire::CellChange CellEncoder::change_since(const Cell& cell, uint16_t slot, EntitySlot s,
                                           uint8_t layer, bool from_half) const {
  const Image& image = entities_.image(s);
  const LayerBase& base = entities_.layer_base(s);
  const Steps3& from = from_half ? base.half : base.anchor;
  const Steps3 shown = shown_position(cell.key, image);
  wire::CellChange change;
  change.slot = slot;
  change.moved = shown != from;
  // Behind a layer 1 the motion up to it is newer than the pace of the anchor.
  const bool twice = from_half && cell.holds(entities_.membership(s).since, cell.anchor_frame);
  for (int i = 0; change.moved && i < 3; ++i) {
    const int32_t pace = twice ? 2 * (base.half[i] - base.anchor[i]) : image.pace[i];
    change.residual[i] = shown[i] - from[i] - wire::expected_motion(pace, layer);
  }
  const uint8_t yaw = from_half ? base.half_yaw : base.anchor_yaw;
  change.yaw_delta = static_cast<uint8_t>(image.yaw - yaw);
  change.flags_changed = image.flags != (from_half ? base.half_flags : base.anchor_flags);
  change.flags = image.flags;
  return change;
}

// Who is due when the period is that of most of the listed changes. Of few members it is not worth
// looking at all of them.
wire::CellSchedule CellEncoder::schedule(const Cell& cell, uint32_t changes) {
  constexpr uint32_t kWorthIt = 8;
  if (changes < kWorthIt) return {};
  uint32_t aged[wire::kCellPeriodMax + 1] = {};
  cells_.for_each_changed(cell, [&](uint16_t, EntitySlot s) {
    const uint32_t age = tick_ - entities_.image(s).told;
    if (age <= wire::kCellPeriodMax) ++aged[age];
  });
  const auto period =
      static_cast<uint32_t>(std::max_element(aged + 1, std::end(aged)) - std::begin(aged));
  if (aged[period] < changes / 2) return {};
  uint32_t count = 0;
  cells_.for_each_member(cell, [&](uint16_t slot, EntitySlot s) {
    if (tick_ - entities_.image(s).told != period || entities_.membership(s).entered != 0) return;
    due_[count++] = slot;
  });
  return {static_cast<uint8_t>(period), {due_.data(), count}};
}

ChunkSpan CellEncoder::packed_chain(const Cell& cell) {
  wire::CellFrameHeader h = header(cell, frame_);
  h.reference = cell.frame;
  h.anchor = anchors_ && cell.dirty;
  h.has_checksum = checksums_;
  return packed_delta(cell, list_chain(cell), h);
}

ChunkSpan CellEncoder::packed_layer(const Cell& cell, uint8_t layer) {
  const bool from_half = layer == 2 && cell.half;
  wire::CellFrameHeader h = header(cell, frame_);
  h.reference = from_half ? cell.half_frame : cell.anchor_frame;
  h.layer = layer;
  h.has_checksum = checksums_ && layer == 0;
  return packed_delta(cell, list_layer(cell, layer, from_half), h);
}

// Writes the lists; `h` is of the whole frame.
ChunkSpan CellEncoder::packed_delta(const Cell& cell, const PackedLists& n,
                                    wire::CellFrameHeader h) {
  builder_.begin();
  const wire::CellSchedule known =
      h.layer == wire::kChainLayer ? schedule(cell, n.changes) : wire::CellSchedule{};
  const bool with_checksum = h.has_checksum;
  const bool anchor = h.anchor;
  if (with_checksum) {
    h.checksum = checksum(cell);
    cells_.note_checksum(cell, h.frame, h.checksum);
  }
  PackedLists at;
  PackedLists most{kLeavesInChunk, kEntersInChunk, kChangesInChunk};
  do {
    // Leaves first, then enters, then changes: a change may be of a slot that entered.
    const uint32_t leaves = std::min(n.leaves - at.leaves, most.leaves);
    const bool all_left = at.leaves + leaves == n.leaves;
    const uint32_t enters = all_left ? std::min(n.enters - at.enters, most.enters) : 0;
    const bool all_in = all_left && at.enters + enters == n.enters;
    const uint32_t changes = all_in ? std::min(n.changes - at.changes, most.changes) : 0;
    const bool last = all_in && at.changes + changes == n.changes;
    h.has_checksum = with_checksum && last;
    h.anchor = anchor && last;
    const uint32_t bytes = write_cell_frame(
        [&](base::MutableBytes out) {
          return wire::write_cell_delta(out, h, {leaves_.data() + at.leaves, leaves},
                                        {members_.data() + at.enters, enters},
                                        {changes_.data() + at.changes, changes},
                                        changes == n.changes ? known : wire::CellSchedule{});
        },
        leaves + enters + changes);
    if (bytes == 0) {
      if (leaves <= 1 && enters <= 1 && changes <= 1) {  // as few of each as a part can have
        builder_.fail();
        return {};
      }
      most = {std::max(1u, leaves / 2), std::max(1u, enters / 2), std::max(1u, changes / 2)};
      continue;
    }
    at.leaves += leaves;
    at.enters += enters;
    at.changes += changes;
    h.reference = h.frame;
  } while (at.leaves < n.leaves || at.enters < n.enters || at.changes < n.changes);
  const ChunkSpan span = builder_.finish();
  ++counters_.layer_frames[h.layer];
  counters_.layer_records[h.layer] += n.leaves + n.enters + n.changes;
  counters_.layer_bytes[h.layer] += span.bytes;
  return span;
}

ChunkSpan CellEncoder::packed_keyframe(const Cell& cell) {
  builder_.begin();
  uint32_t count = 0;
  cells_.for_each_member(
      cell, [&](uint16_t slot, EntitySlot s) { members_[count++] = member_record(cell, slot, s); });
  wire::CellFrameHeader h = header(cell, cell.frame);
  h.layer = 0;
  h.keyframe = true;
  h.checksum = checksum(cell);
  cells_.note_checksum(cell, h.frame, h.checksum);
  uint32_t at = 0;
  uint32_t most = kEntersInChunk;
  do {
    const uint32_t n = std::min(count - at, most);
    h.has_checksum = at + n == count;
    const std::span<const wire::CellMember> part{members_.data() + at, n};
    const uint32_t bytes = write_cell_frame(
        [&](base::MutableBytes out) {
          return h.keyframe ? wire::write_cell_keyframe(out, h, part)
                            : wire::write_cell_delta(out, h, {}, part, {});  // of layer 0
        },
        n);
    if (bytes == 0) {
      if (n <= 1) {
        builder_.fail();
        return {};
      }
      most = n / 2;
      continue;
    }
    at += n;
    h.keyframe = false;
  } while (at < count);
  return builder_.finish();
}

// Behind the anchor of this tick. None: they do not fit one chunk.
ChunkSpan CellEncoder::packed_tracks(const Cell& cell) {
  const size_t mark = arena_.mark();
  builder_.begin();
  uint32_t count = 0;
  cells_.for_each_member(
      cell, [&](uint16_t slot, EntitySlot s) { members_[count++] = member_record(cell, slot, s); });
  wire::CellFrameHeader h = header(cell, cell.frame);
  h.tracks = true;
  const uint32_t bytes = write_cell_frame(
      [&](base::MutableBytes out) {
        return wire::write_cell_tracks(out, h, {members_.data(), count});
      },
      0);
  const ChunkSpan span = bytes != 0 ? builder_.finish() : ChunkSpan{};
  if (bytes != 0 && !builder_.failed()) return span;
  arena_.rewind(mark);
  return {};
}

ChunkSpan CellEncoder::packed_drop(const Cell& cell) {
  builder_.begin();
  wire::CellFrameHeader h = header(cell, cell.frame);
  h.drop = true;
  const uint32_t bytes =
      write_cell_frame([&](base::MutableBytes out) { return wire::write_cell_drop(out, h); }, 0);
  if (bytes == 0) builder_.fail();
  return builder_.finish();
}

}  // namespace tidegate::world
