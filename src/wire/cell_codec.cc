// SPDX-License-Identifier: Apache-2.0
// The writing side of cell frames, and checksums. cell_layout.h has the layout.
#include "wire/cell_codec.h"

#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "base/assert.h"
#include "wire/cell_layout.h"
#include "wire/pb.h"

namespace tidegate::wire {
namespace {

// Returns the header's bytes, 0 when they do not fit.
size_t write_header(base::MutableBytes out, const CellFrameHeader& h) {
  PbWriter w(out);
  const bool delta = !h.keyframe && !h.drop && !h.tracks;
  const bool part = delta && h.reference == h.frame;
  TG_ASSERT(!delta || h.layer != kChainLayer || part || h.reference == h.frame - 1);
  const uint8_t first = static_cast<uint8_t>(
      (h.keyframe || h.tracks ? kKeyframeBit : 0) | (h.drop || h.tracks ? kDropBit : 0) |
      (h.has_checksum ? kChecksumBit : 0) | (h.anchor ? kAnchorBit : 0) |
      (h.epoch != 0 ? kEpochBit : 0) | (part ? kPartBit : 0) |
      (delta ? h.layer << kLayerShift : 0));
  w.raw(&first, 1);
  w.raw_varint(zigzag(h.cell_x));
  w.raw_varint(zigzag(h.cell_z));
  if (h.epoch != 0) w.raw_varint(h.epoch);
  if (delta) {
    const auto low = static_cast<uint8_t>(h.frame);
    w.raw(&low, 1);
    if (h.layer != kChainLayer && !part) w.raw_varint(h.frame - h.reference);
  } else {
    w.raw_varint(h.frame);
  }
  if (h.has_checksum) w.raw(&h.checksum, sizeof h.checksum);
  return w.overflow() ? 0 : w.size();
}

int32_t hex_digit(char c) {
  return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
// Whether the name is a UUID as it is written by default; then `out` has it.
bool as_uuid(std::string_view name, uint8_t (&out)[kUuidBytes]) {
  if (name.size() != kUuidText) return false;
  size_t at = 0;
  for (uint32_t i = 0; i < kUuidBytes; ++i) {
    if (dash_before(i) && name[at++] != '-') return false;
    const int32_t high = hex_digit(name[at]);
    const int32_t low = hex_digit(name[at + 1]);
    if (high < 0 || low < 0) return false;
    out[i] = static_cast<uint8_t>(high << 4 | low);
    at += 2;
  }
  return true;
}

void write_name(BitWriter& out, std::string_view name) {
  uint8_t uuid[kUuidBytes];
  if (as_uuid(name, uuid)) {
    out.bits(kUuidName, kNameLengthBits);
    for (const uint8_t b : uuid) out.bits(b, 8);
    return;
  }
  out.bits(static_cast<uint32_t>(name.size()), kNameLengthBits);
  for (const char c : name) out.bits(static_cast<uint8_t>(c), 8);
}

void write_flags(BitWriter& out, uint32_t flags) {
  const bool wide = flags > 0xff;
  out.bit(wide);
  out.bits(flags, wide ? 32 : 8);
}

void write_member(BitWriter& out, const CellMember& m, int32_t* previous) {
  out.golomb(static_cast<uint32_t>(m.slot - *previous - 1), kGapOrder);
  *previous = m.slot;
  out.bits(m.kind, 2);
  out.golomb(m.id, kIdOrder);
  write_name(out, m.name);
  out.golomb_signed(m.x, kPlaceOrder);
  out.golomb_signed(m.z, kPlaceOrder);
  out.golomb_signed(m.y, kHeightOrder);
  out.bits(m.yaw, 8);
  write_flags(out, m.flags);
  out.bits(m.age, kAgeBits);
  for (const CellTrack& t : m.track) out.golomb_signed(t.speed, kSpeedOrder);
  const bool has_offsets = (m.track[0].offset | m.track[1].offset | m.track[2].offset) != 0;
  out.bit(has_offsets);
  for (int a = 0; has_offsets && a < 3; ++a) {
    out.bits(static_cast<uint32_t>(m.track[a].offset) & ((1U << kOffsetBits) - 1), kOffsetBits);
  }
  const bool has_pace = (m.pace[0] | m.pace[1] | m.pace[2]) != 0;
  out.bit(has_pace);
  if (!has_pace) return;
  for (int32_t p : m.pace) out.golomb_signed(p, kPaceOrder);
}

// The order that codes `values` with the given mean in the fewest bits, near enough: 2^k just below
// the mean.
uint32_t order_for(uint64_t sum, uint64_t count, uint32_t most) {
  uint32_t k = 0;
  while (k < most && (uint64_t{2} << k) * count <= sum) ++k;
  return k;
}

size_t finish(BitWriter& bits, size_t header) {
  const size_t body = bits.finish();
  return bits.overflow() ? 0 : header + body;
}

}  // namespace

size_t write_cell_keyframe(base::MutableBytes out, const CellFrameHeader& header,
                           std::span<const CellMember> members) {
  const size_t head = write_header(out, header);
  if (head == 0) return 0;
  BitWriter bits(out.subspan(head));
  bits.golomb(static_cast<uint32_t>(members.size()), 4);
  int32_t previous = -1;
  for (const CellMember& m : members) write_member(bits, m, &previous);
  return finish(bits, head);
}

namespace {

// Numbers that one frame codes with one order.
struct Sum {
  uint64_t sum = 0, count = 0;
  void add(uint32_t v) {
    sum += v;
    ++count;
  }
  uint32_t order() const { return count == 0 ? 0 : order_for(sum, count, (1U << kOrderBits) - 1); }
};

// Calls missed(gap) for each member due that is not in `changes`, the gap counted in the list of
// those due, and extra(gap) for each change that was not due.
template <class Missed, class Extra>
void walk_schedule(const CellSchedule& schedule, std::span<const CellChange> changes,
                   Missed&& missed, Extra&& extra) {
  size_t at = 0;
  size_t after_missed = 0;
  uint32_t after_extra = 0;
  const auto miss = [&] {
    missed(static_cast<uint32_t>(at - after_missed));
    after_missed = ++at;
  };
  for (const CellChange& c : changes) {
    while (at < schedule.due.size() && schedule.due[at] < c.slot) miss();
    if (at < schedule.due.size() && schedule.due[at] == c.slot) {
      ++at;
      continue;
    }
    extra(c.slot - after_extra);
    after_extra = c.slot + 1U;
  }
  while (at < schedule.due.size()) miss();
}

uint64_t bits_about(const Sum& s) {
  return s.count == 0 ? 0 : s.count * (s.order() + 2) + kOrderBits;
}

void write_slots(BitWriter& bits, bool chain, const CellSchedule& schedule,
                 std::span<const CellChange> changes) {
  Sum gaps;
  int32_t previous = -1;
  for (const CellChange& c : changes) {
    gaps.add(static_cast<uint32_t>(c.slot - previous - 1));
    previous = c.slot;
  }
  Sum missed;
  Sum extra;
  if (schedule.period != 0) {
    walk_schedule(
        schedule, changes, [&](uint32_t gap) { missed.add(gap); },
        [&](uint32_t gap) { extra.add(gap); });
  }
  const bool scheduled =
      chain && schedule.period != 0 && bits_about(missed) + bits_about(extra) < bits_about(gaps);
  if (chain) bits.bits(scheduled ? schedule.period : 0, kPeriodBits);
  if (!scheduled) {
    bits.bits(gaps.order(), kOrderBits);
    previous = -1;
    for (const CellChange& c : changes) {
      bits.golomb(static_cast<uint32_t>(c.slot - previous - 1), gaps.order());
      previous = c.slot;
    }
    return;
  }
  bits.golomb(static_cast<uint32_t>(missed.count), 0);
  if (missed.count != 0) {
    bits.bits(missed.order(), kOrderBits);
    walk_schedule(
        schedule, changes, [&](uint32_t gap) { bits.golomb(gap, missed.order()); },
        [](uint32_t) {});
  }
  if (extra.count != 0) {
    bits.bits(extra.order(), kOrderBits);
    walk_schedule(
        schedule, changes, [](uint32_t) {}, [&](uint32_t gap) { bits.golomb(gap, extra.order()); });
  }
}

uint32_t form_of(const CellChange& c) {
  return (c.moved ? kFormMoved : 0U) | (c.moved && c.residual[1] != 0 ? kFormHeight : 0U) |
         (c.yaw_delta != 0 ? kFormYaw : 0U) | (c.flags_changed ? kFormFlags : 0U);
}

void write_changes(BitWriter& bits, std::span<const CellChange> changes) {
  Sum places;
  Sum yaws;
  uint32_t forms[1U << kFormBits] = {};
  for (const CellChange& c : changes) {
    ++forms[form_of(c)];
    if (c.yaw_delta != 0) yaws.add(zigzag(static_cast<int8_t>(c.yaw_delta)));
    if (!c.moved) continue;
    places.add(zigzag(c.residual[0]));
    places.add(zigzag(c.residual[2]));
  }
  const auto usual = static_cast<uint32_t>(std::max_element(forms, std::end(forms)) - forms);
  const uint32_t order = places.order();
  const uint32_t yaw_order = yaws.order();
  const bool alike = forms[usual] == changes.size();
  bits.bit(alike);
  bits.bits(usual, kFormBits);
  bits.bits(order, kOrderBits);
  bits.bits(yaw_order, kOrderBits);
  for (const CellChange& c : changes) {
    const uint32_t form = form_of(c);
    if (!alike) bits.bit(form == usual);
    if (form != usual) bits.bits(form, kFormBits);
    if (c.moved) {
      bits.golomb_signed(c.residual[0], order);
      bits.golomb_signed(c.residual[2], order);
      if (c.residual[1] != 0) bits.golomb_signed(c.residual[1], order);
    }
    if (c.yaw_delta != 0) bits.golomb_signed(static_cast<int8_t>(c.yaw_delta), yaw_order);
    if (c.flags_changed) write_flags(bits, c.flags);
  }
}

}  // namespace

size_t write_cell_delta(base::MutableBytes out, const CellFrameHeader& header,
                        std::span<const CellLeave> leaves, std::span<const CellMember> enters,
                        std::span<const CellChange> changes, const CellSchedule& schedule) {
  const size_t head = write_header(out, header);
  if (head == 0) return 0;
  BitWriter bits(out.subspan(head));
  bits.bit(!leaves.empty() || !enters.empty());
  int32_t previous = -1;
  if (!leaves.empty() || !enters.empty()) {
    bits.golomb(static_cast<uint32_t>(leaves.size()), 0);
    for (const CellLeave& leave : leaves) {
      bits.golomb(static_cast<uint32_t>(leave.slot - previous - 1), kGapOrder);
      previous = leave.slot;
      bits.bit(leave.to_cell);
      if (leave.to_cell) {
        bits.golomb_signed(leave.cell_x - header.cell_x, 0);
        bits.golomb_signed(leave.cell_z - header.cell_z, 0);
      }
    }
    bits.golomb(static_cast<uint32_t>(enters.size()), 0);
    previous = -1;
    for (const CellMember& m : enters) write_member(bits, m, &previous);
  }
  bits.golomb(static_cast<uint32_t>(changes.size()), 3);
  if (!changes.empty()) {
    write_slots(bits, header.layer == kChainLayer, schedule, changes);
    write_changes(bits, changes);
  }
  return finish(bits, head);
}

size_t write_cell_drop(base::MutableBytes out, const CellFrameHeader& header) {
  return write_header(out, header);
}

size_t write_cell_tracks(base::MutableBytes out, const CellFrameHeader& header,
                         std::span<const CellMember> members) {
  const size_t head = write_header(out, header);
  if (head == 0) return 0;
  const auto differs = [](const CellMember& m, int axis, uint32_t factor) {
    return static_cast<int32_t>(static_cast<uint32_t>(m.track[axis].speed) -
                                static_cast<uint32_t>(expected_speed(m.pace[axis], factor)));
  };
  const auto moves = [](const CellMember& m, int axis) {
    return m.track[axis].speed != 0 || m.track[axis].offset != 0;
  };
  // The factor with which the pace says most: how many ticks lie between two moves.
  Sum best;
  uint32_t factor = 0;
  for (uint32_t f = 0; f < 1U << kFactorBits; ++f) {
    Sum sum;
    for (const CellMember& m : members) {
      for (const int axis : {0, 2}) {
        if (moves(m, axis)) sum.add(zigzag(differs(m, axis, f)));
      }
    }
    if (f == 0 || sum.sum < best.sum) {
      best = sum;
      factor = f;
    }
  }
  const uint32_t order = best.order();
  BitWriter bits(out.subspan(head));
  bits.bits(factor, kFactorBits);
  bits.bits(order, kOrderBits);
  const auto axis = [&](const CellMember& m, int a) {
    bits.golomb_signed(differs(m, a, factor), order);
    bits.bits(static_cast<uint32_t>(m.track[a].offset) & ((1U << kOffsetBits) - 1), kOffsetBits);
  };
  for (const CellMember& m : members) {
    bits.bits(m.age, kAgeBits);
    const bool climbs = moves(m, 1);
    const bool moved = climbs || moves(m, 0) || moves(m, 2);
    bits.bit(moved);
    if (!moved) continue;
    axis(m, 0);
    axis(m, 2);
    bits.bit(climbs);
    if (climbs) axis(m, 1);
  }
  return finish(bits, head);
}

size_t write_cell_head(base::MutableBytes out, uint32_t tick) {
  PbWriter w(out);
  w.raw(&kCellLayout, 1);
  w.raw_varint(tick);
  return w.overflow() ? 0 : w.size();
}

size_t close_cell_frame(base::MutableBytes out, size_t frame_bytes) {
  PbWriter w(out.first(kCellLengthRoom));
  w.raw_varint(frame_bytes);
  TG_ASSERT(!w.overflow());
  std::memmove(out.data() + w.size(), out.data() + kCellLengthRoom, frame_bytes);
  return w.size() + frame_bytes;
}

void write_cell_row(uint8_t* out, const CellRow& row) {
  base::store_le(out, row.slot);
  out[2] = row.kind;
  out[3] = row.yaw;
  base::store_le(out + 4, row.id);
  base::store_le(out + 8, row.x);
  base::store_le(out + 12, row.y);
  base::store_le(out + 16, row.z);
  base::store_le(out + 20, row.flags);
}

CellRow read_cell_row(const uint8_t* in) {
  CellRow row;
  row.slot = base::load_le<uint16_t>(in);
  row.kind = in[2];
  row.yaw = in[3];
  row.id = base::load_le<uint32_t>(in + 4);
  row.x = base::load_le<int32_t>(in + 8);
  row.y = base::load_le<int32_t>(in + 12);
  row.z = base::load_le<int32_t>(in + 16);
  row.flags = base::load_le<uint32_t>(in + 20);
  return row;
}

CellChecksum::CellChecksum() : state_(XXH3_createState()) {
  TG_ASSERT(state_ != nullptr);
  reset();
}
CellChecksum::~CellChecksum() { XXH3_freeState(static_cast<XXH3_state_t*>(state_)); }

void CellChecksum::reset() { XXH3_64bits_reset(static_cast<XXH3_state_t*>(state_)); }

void CellChecksum::add(uint16_t slot, uint8_t kind, uint8_t yaw, uint32_t id, int32_t x, int32_t y,
                       int32_t z, uint32_t flags) {
  uint8_t row[kCellRowBytes];
  write_cell_row(row, {slot, kind, yaw, id, x, y, z, flags});
  XXH3_64bits_update(static_cast<XXH3_state_t*>(state_), row, sizeof row);
}

uint64_t CellChecksum::value() const {
  return XXH3_64bits_digest(static_cast<XXH3_state_t*>(state_));
}

}  // namespace tidegate::wire
