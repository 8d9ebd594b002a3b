// SPDX-License-Identifier: Apache-2.0
// Layout (docs/protocol.md): a header of bytes, then bits, least significant first.
//   byte 0: 1 keyframe, 2 drop, 4 checksum, 8..16 layer, 32 anchor, the upper two bits 0
//   varints: zigzag cell x, zigzag cell z, epoch, frame, frame - reference, tick; checksum u64 LE
//   member: gap g(3) from the slot before, kind 2 bits, id g(12), name length 7 bits and its bytes,
//           x and z sg(11), y sg(6), yaw 8 bits, flags, predictor x, y, z sg(2), 1 bit: has a
//           pace, then x, y, z sg(4)
//   flags: 1 bit wide, then 32 bits when it is set, 8 otherwise
//   keyframe: count g(4), members
//   delta: 1 bit: membership changed; if so leaves g(0): gap g(3), 1 bit to another cell and then
//          dx, dz sg(0) from this cell; enters g(0): members
//          changes g(3); order of gaps 2 bits; order of residuals 3 bits; changes:
//          gap g(order), 1 bit plain (moved in x and z only); otherwise bits: moved, y, yaw, flags;
//          moved: x, z sg(order), y: sg(order); yaw: sg(2) of the difference; flags
// g(k): exp-Golomb of order k; sg(k): the same of the zigzag value; a gap is slot - previous - 1,
// the first one counts from -1.
#include "wire/cell_codec.h"

#define XXH_STATIC_LINKING_ONLY
#define XXH_STATIC_LINKING_ONLY  // the layout of a state, to have one on the stack
#include <xxhash.h>

#include <algorithm>

#include "base/assert.h"
#include "wire/envelope.h"
#include "wire/pb.h"

namespace tidegate::wire {
namespace {

enum HeaderBit : uint8_t {
  kKeyframeBit = 1,
  kDropBit = 2,
  kChecksumBit = 4,
  kLayerShift = 3,
  kAnchorBit = 32
};

constexpr uint32_t kGapOrder = 3;
constexpr uint32_t kIdOrder = 12;
constexpr uint32_t kPlaceOrder = 11;
constexpr uint32_t kHeightOrder = 6;
constexpr uint32_t kPredictorOrder = 2;
constexpr uint32_t kPaceOrder = 4;
constexpr uint32_t kYawOrder = 2;

// Wrapping on purpose: garbage must not be undefined.
int32_t sum(int32_t a, int32_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
}
int32_t difference(int32_t a, int32_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) - static_cast<uint32_t>(b));
}

// Returns the header's bytes, 0 when they do not fit.
size_t write_header(base::MutableBytes out, const CellFrameHeader& h) {
  PbWriter w(out);
  const uint8_t first =
      static_cast<uint8_t>((h.keyframe ? kKeyframeBit : 0) | (h.drop ? kDropBit : 0) |
                           (h.has_checksum ? kChecksumBit : 0) | (h.anchor ? kAnchorBit : 0) |
                           (h.keyframe || h.drop ? 0 : h.layer << kLayerShift));
  w.raw(&first, 1);
  w.raw_varint(zigzag(h.cell_x));
  w.raw_varint(zigzag(h.cell_z));
  w.raw_varint(h.epoch);
  w.raw_varint(h.frame);
  w.raw_varint(h.keyframe || h.drop ? 0 : h.frame - h.reference);
  w.raw_varint(h.tick);
  if (h.has_checksum) w.raw(&h.checksum, sizeof h.checksum);
  return w.overflow() ? 0 : w.size();
}

bool read_u32(base::Bytes* rest, uint32_t* out) {
  uint64_t v = 0;
  for (uint32_t i = 0; i < 5 && i < rest->size(); ++i) {
    const uint8_t b = (*rest)[i];
    v |= uint64_t{b & 0x7fu} << (7 * i);
    if (b < 0x80) {
      if (v > UINT32_MAX) return false;
      *out = static_cast<uint32_t>(v);
      *rest = rest->subspan(i + 1);
      return true;
    }
  }
  return false;
}

bool take_header(base::Bytes* rest, CellFrameHeader* h) {
  if (rest->empty()) return false;
  const uint8_t first = (*rest)[0];
  *rest = rest->subspan(1);
  if ((first & 0xc0) != 0 || ((first & kKeyframeBit) != 0 && (first & kDropBit) != 0)) return false;
  *h = CellFrameHeader{};
  h->keyframe = (first & kKeyframeBit) != 0;
  h->drop = (first & kDropBit) != 0;
  h->has_checksum = (first & kChecksumBit) != 0;
  h->anchor = (first & kAnchorBit) != 0;
  h->layer = first >> kLayerShift & 3;
  if (h->anchor && h->layer != kChainLayer) return false;
  uint32_t x = 0;
  uint32_t z = 0;
  uint32_t back = 0;
  if (!read_u32(rest, &x) || !read_u32(rest, &z) || x > 0xffff || z > 0xffff ||
      !read_u32(rest, &h->epoch) || !read_u32(rest, &h->frame) || !read_u32(rest, &back) ||
      !read_u32(rest, &h->tick)) {
    return false;
  }
  h->cell_x = static_cast<int16_t>(unzigzag(x));
  h->cell_z = static_cast<int16_t>(unzigzag(z));
  h->reference = h->frame - back;
  if (h->has_checksum) {
    if (rest->size() < 8) return false;
    h->checksum = base::load_le<uint64_t>(rest->data());
    *rest = rest->subspan(8);
  }
  return true;
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
  out.bits(static_cast<uint32_t>(m.name.size()), 7);
  for (char c : m.name) out.bits(static_cast<uint8_t>(c), 8);
  out.golomb_signed(m.x, kPlaceOrder);
  out.golomb_signed(m.z, kPlaceOrder);
  out.golomb_signed(m.y, kHeightOrder);
  out.bits(m.yaw, 8);
  write_flags(out, m.flags);
  for (int32_t p : m.predictor) out.golomb_signed(p, kPredictorOrder);
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

size_t write_cell_delta(base::MutableBytes out, const CellFrameHeader& header,
                        std::span<const CellLeave> leaves, std::span<const CellMember> enters,
                        std::span<const CellChange> changes) {
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
  uint64_t residuals = 0;
  uint64_t residual_count = 1;
  uint64_t gaps = 0;
  previous = -1;
  for (const CellChange& c : changes) {
    gaps += static_cast<uint64_t>(c.slot - previous - 1);
    previous = c.slot;
    if (!c.moved) continue;
    residuals += zigzag(c.residual[0]) + uint64_t{zigzag(c.residual[2])};
    residual_count += 2;
  }
  const uint32_t gap_order = order_for(gaps, changes.size() + 1, 3);
  const uint32_t order = order_for(residuals, residual_count, 7);
  bits.golomb(static_cast<uint32_t>(changes.size()), 3);
  bits.bits(gap_order, 2);
  bits.bits(order, 3);
  previous = -1;
  for (const CellChange& c : changes) {
    bits.golomb(static_cast<uint32_t>(c.slot - previous - 1), gap_order);
    previous = c.slot;
    const bool plain = c.moved && c.residual[1] == 0 && c.yaw_delta == 0 && !c.flags_changed;
    bits.bit(plain);
    if (!plain) {
      bits.bits((c.moved ? 1u : 0) | (c.residual[1] != 0 ? 2u : 0) | (c.yaw_delta != 0 ? 4u : 0) |
                    (c.flags_changed ? 8u : 0),
                4);
    }
    if (c.moved) {
      bits.golomb_signed(c.residual[0], order);
      bits.golomb_signed(c.residual[2], order);
      if (c.residual[1] != 0) bits.golomb_signed(c.residual[1], order);
    }
    if (c.yaw_delta != 0) bits.golomb_signed(static_cast<int8_t>(c.yaw_delta), kYawOrder);
    if (c.flags_changed) write_flags(bits, c.flags);
  }
  return finish(bits, head);
}

size_t write_cell_drop(base::MutableBytes out, const CellFrameHeader& header) {
  return write_header(out, header);
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

bool CellImage::read_header(base::Bytes payload, CellFrameHeader* out) {
  return take_header(&payload, out);
}

CellStatus CellImage::apply(base::Bytes payload, Listener* listener) {
  CellFrameHeader header;
  if (!take_header(&payload, &header)) return CellStatus::kMalformed;
  comparing_ = false;
  if (header.drop) {
    if (!payload.empty()) return CellStatus::kMalformed;
    clear(listener);
    has_frame_ = false;
    header_ = header;
    return CellStatus::kOk;
  }
  BitReader in(payload);
  if (header.keyframe) {
    header.layer = 0;
    has_frame_ = apply_keyframe(in, listener);
    chained_ = true;
    from_half_ = false;
  } else {
    if (!find_reference(header, listener)) return CellStatus::kMissingReference;
    has_frame_ = apply_delta(in, header, listener);
    if (comparing_) report_differences(*listener);
  }
  if (!has_frame_) return CellStatus::kMalformed;
  if (header.layer == 0 || header.anchor) {
    reach_anchor(header.frame, header.keyframe);
  } else if (header.layer == 1) {
    keep(layer_[1], header.frame);
  }
  header_ = header;
  if (header.has_checksum && checksum() != header.checksum) return CellStatus::kChecksumMismatch;
  return CellStatus::kOk;
}

// Makes the image that the delta refers to the current one. False: it is not held, nothing changed.
bool CellImage::find_reference(const CellFrameHeader& header, Listener* listener) {
  if (!has_frame_ || header.epoch != header_.epoch || header.cell_x != header_.cell_x ||
      header.cell_z != header_.cell_z) {
    return false;
  }
  const bool current = header.reference == header_.frame;
  if (header.layer == kChainLayer) return current && chained_;
  // A further part of the frame before.
  if (current && header.frame == header.reference && header.layer == header_.layer) return true;
  KeptImage* const from =
      layer_[0].valid && header.reference == layer_[0].frame                        ? &layer_[0]
      : header.layer == 2 && layer_[1].valid && header.reference == layer_[1].frame ? &layer_[1]
                                                                                    : nullptr;
  if (from == nullptr) return false;
  if (listener != nullptr) {
    shown_.resize(slots_.size());
    for (size_t i = 0; i < slots_.size(); ++i) shown_[i] = kept(slots_[i]);
    comparing_ = true;
  }
  restore(*from);
  from_half_ = from == &layer_[1];
  chained_ = false;
  return true;
}

void CellImage::keep(KeptImage& image, uint32_t frame) {
  image.members.resize(slots_.size());
  for (size_t i = 0; i < slots_.size(); ++i) image.members[i] = kept(slots_[i]);
  image.frame = frame;
  image.valid = true;
}

void CellImage::restore(const KeptImage& image) {
  count_ = 0;
  for (size_t i = 0; i < slots_.size(); ++i) {
    Member& m = slots_[i];
    m.live = i < image.members.size() && image.members[i].live;
    if (!m.live) continue;
    const Kept& k = image.members[i];
    m.x = k.x;
    m.y = k.y;
    m.z = k.z;
    m.yaw = k.yaw;
    m.flags = k.flags;
    ++count_;
  }
}

// The image is the anchor's. `fresh`: of a keyframe, which carries the paces itself.
void CellImage::reach_anchor(uint32_t frame, bool fresh) {
  if (!fresh && layer_[0].valid) {
    const std::vector<Kept>& before = layer_[0].members;
    for (size_t i = 0; i < slots_.size() && i < before.size(); ++i) {
      Member& m = slots_[i];
      const Kept& k = before[i];
      if (!m.live || !k.live || (m.x == k.x && m.y == k.y && m.z == k.z)) continue;
      m.pace[0] = difference(m.x, k.x);
      m.pace[1] = difference(m.y, k.y);
      m.pace[2] = difference(m.z, k.z);
    }
  }
  keep(layer_[0], frame);
  layer_[1].valid = false;
}

// A listener hears of the difference between what was shown and what is.
void CellImage::report_differences(Listener& listener) {
  for (size_t i = 0; i < slots_.size(); ++i) {
    const Member& m = slots_[i];
    const bool was = i < shown_.size() && shown_[i].live;
    if (was && !m.live) {
      CellLeave leave;
      leave.slot = static_cast<uint16_t>(i);
      listener.on_leave(m, leave);
    } else if (was && kept(m) != shown_[i]) {
      listener.on_change(m);
    }
  }
}

void CellImage::clear(Listener* listener) {
  for (Member& m : slots_) {
    if (!m.live) continue;
    m.live = false;
    if (listener != nullptr) listener->on_leave(m, CellLeave{});
  }
  count_ = 0;
  layer_[0].valid = layer_[1].valid = false;
}

bool CellImage::read_member(BitReader& in, uint32_t slot, Listener* listener) {
  if (slot >= slots_.size()) slots_.resize(slot + 1);
  Member& m = slots_[slot];
  if (m.live) return false;
  m.kind = static_cast<uint8_t>(in.bits(2));
  m.id = in.golomb(kIdOrder);
  const uint32_t length = in.bits(7);
  if (in.failed() || length > kNameBytesMax) return false;
  m.name.resize(length);
  for (char& c : m.name) c = static_cast<char>(in.bits(8));
  if (!is_utf8(m.name)) return false;
  m.x = in.golomb_signed(kPlaceOrder);
  m.z = in.golomb_signed(kPlaceOrder);
  m.y = in.golomb_signed(kHeightOrder);
  m.yaw = static_cast<uint8_t>(in.bits(8));
  m.flags = in.bit() ? in.bits(32) : in.bits(8);
  for (int32_t& p : m.predictor) p = in.golomb_signed(kPredictorOrder);
  const bool has_pace = in.bit();
  for (int32_t& p : m.pace) p = has_pace ? in.golomb_signed(kPaceOrder) : 0;
  if (in.failed()) return false;
  m.live = true;
  ++count_;
  const bool shown = comparing_ && slot < shown_.size() && shown_[slot].live;
  if (listener != nullptr && !shown) listener->on_enter(m);
  return true;
}

bool CellImage::apply_keyframe(BitReader& in, Listener* listener) {
  clear(listener);
  const uint32_t count = in.golomb(4);
  uint64_t slot = UINT64_MAX;
  for (uint32_t i = 0; i < count; ++i) {
    slot += uint64_t{in.golomb(kGapOrder)} + 1;
    if (in.failed() || slot >= kCellSlotsMax) return false;
    if (!read_member(in, static_cast<uint32_t>(slot), listener)) return false;
  }
  return in.at_end();
}

bool CellImage::apply_delta(BitReader& in, const CellFrameHeader& header, Listener* listener) {
  if (in.bit()) {
    uint64_t slot = UINT64_MAX;
    for (uint32_t n = in.golomb(0); n > 0; --n) {
      slot += uint64_t{in.golomb(kGapOrder)} + 1;
      CellLeave leave;
      leave.to_cell = in.bit();
      if (leave.to_cell) {
        leave.cell_x = static_cast<int16_t>(header.cell_x + in.golomb_signed(0));
        leave.cell_z = static_cast<int16_t>(header.cell_z + in.golomb_signed(0));
      }
      if (in.failed() || slot >= slots_.size() || !slots_[slot].live) return false;
      leave.slot = static_cast<uint16_t>(slot);
      slots_[slot].live = false;
      --count_;
      const bool shown = !comparing_ || (slot < shown_.size() && shown_[slot].live);
      if (listener != nullptr && shown) listener->on_leave(slots_[slot], leave);
      if (comparing_ && shown) shown_[slot].live = false;
    }
    slot = UINT64_MAX;
    for (uint32_t n = in.golomb(0); n > 0; --n) {
      slot += uint64_t{in.golomb(kGapOrder)} + 1;
      if (in.failed() || slot >= kCellSlotsMax) return false;
      if (!read_member(in, static_cast<uint32_t>(slot), listener)) return false;
    }
  }
  const uint32_t count = in.golomb(3);
  const uint32_t gap_order = in.bits(2);
  const uint32_t order = in.bits(3);
  uint64_t slot = UINT64_MAX;
  for (uint32_t i = 0; i < count; ++i) {
    slot += uint64_t{in.golomb(gap_order)} + 1;
    if (in.failed() || slot >= slots_.size() || !slots_[slot].live) return false;
    Member& m = slots_[slot];
    const uint32_t parts = in.bit() ? 1u : in.bits(4);
    if (parts & 1) {
      int32_t residual[3] = {};
      residual[0] = in.golomb_signed(order);
      residual[2] = in.golomb_signed(order);
      if (parts & 2) residual[1] = in.golomb_signed(order);
      move(m, static_cast<uint32_t>(slot), header, residual);
    }
    if (parts & 4) m.yaw = static_cast<uint8_t>(m.yaw + in.golomb_signed(kYawOrder));
    if (parts & 8) m.flags = in.bit() ? in.bits(32) : in.bits(8);
    if (in.failed()) return false;
    if (listener != nullptr && !comparing_) listener->on_change(m);
  }
  return in.at_end();
}

void CellImage::move(Member& m, uint32_t slot, const CellFrameHeader& header,
                     const int32_t (&residual)[3]) {
  int32_t* const place[3] = {&m.x, &m.y, &m.z};
  if (header.layer == kChainLayer) {
    for (int a = 0; a < 3; ++a) {
      m.predictor[a] = sum(m.predictor[a], residual[a]);
      *place[a] = sum(*place[a], m.predictor[a]);
    }
    return;
  }
  int32_t pace[3] = {m.pace[0], m.pace[1], m.pace[2]};
  // Behind a layer 1 the motion up to it is newer than the pace of the anchor.
  if (from_half_ && slot < layer_[0].members.size() && layer_[0].members[slot].live &&
      slot < layer_[1].members.size()) {
    const Kept& from = layer_[0].members[slot];
    const Kept& to = layer_[1].members[slot];
    pace[0] = sum(difference(to.x, from.x), difference(to.x, from.x));
    pace[1] = sum(difference(to.y, from.y), difference(to.y, from.y));
    pace[2] = sum(difference(to.z, from.z), difference(to.z, from.z));
  }
  for (int a = 0; a < 3; ++a) {
    const int32_t expected =
        header.layer == 0 ? pace[a] : sum(pace[a], header.layer == 1 ? 1 : 2) >> (header.layer);
    *place[a] = sum(*place[a], sum(expected, residual[a]));
  }
}

// Without a CellChecksum, whose state is on the heap: clients check while they must not allocate.
uint64_t CellImage::checksum() const {
  XXH3_state_t state;
  XXH3_INITSTATE(&state);
  XXH3_64bits_reset(&state);
  for (size_t slot = 0; slot < slots_.size(); ++slot) {
    const Member& m = slots_[slot];
    if (!m.live) continue;
    uint8_t row[kCellRowBytes];
    write_cell_row(row, {static_cast<uint16_t>(slot), m.kind, m.yaw, m.id, m.x, m.y, m.z, m.flags});
    XXH3_64bits_update(&state, row, sizeof row);
  }
  return XXH3_64bits_digest(&state);
}

uint32_t CellImage::rows(std::span<CellRow> out) const {
  uint32_t n = 0;
  for (size_t slot = 0; slot < slots_.size() && n < out.size(); ++slot) {
    const Member& m = slots_[slot];
    if (!m.live) continue;
    out[n++] = {static_cast<uint16_t>(slot), m.kind, m.yaw, m.id, m.x, m.y, m.z, m.flags};
  }
  return n;
}

int32_t CellImage::flip_bit(uint64_t random) {
  if (count_ == 0) return -1;
  uint32_t skip = static_cast<uint32_t>(random >> 32) % count_;
  for (size_t slot = 0; slot < slots_.size(); ++slot) {
    Member& m = slots_[slot];
    if (!m.live || skip-- != 0) continue;
    const auto bit = static_cast<uint32_t>(random % 136);
    int32_t* const place[3] = {&m.x, &m.y, &m.z};
    if (bit < 96) {
      int32_t& axis = *place[bit / 32];
      axis = static_cast<int32_t>(static_cast<uint32_t>(axis) ^ (1U << (bit % 32)));
    } else if (bit < 128) {
      m.flags ^= 1U << (bit - 96);
    } else {
      m.yaw = static_cast<uint8_t>(m.yaw ^ (1U << (bit - 128)));
    }
    return static_cast<int32_t>(slot);
  }
  return -1;
}

}  // namespace tidegate::wire
