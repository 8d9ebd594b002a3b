// SPDX-License-Identifier: Apache-2.0
// The receiving side of cell frames. cell_layout.h has the layout.
#define XXH_STATIC_LINKING_ONLY  // the layout of a state, to have one on the stack
#include <xxhash.h>

#include <algorithm>

#include "wire/cell_codec.h"
#include "wire/cell_layout.h"
#include "wire/envelope.h"

namespace tidegate::wire {
namespace {

// Wrapping on purpose: garbage must not be undefined.
int32_t sum(int32_t a, int32_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
}
int32_t difference(int32_t a, int32_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) - static_cast<uint32_t>(b));
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
bool read_u8(base::Bytes* rest, uint8_t* out) {
  if (rest->empty()) return false;
  *out = (*rest)[0];
  *rest = rest->subspan(1);
  return true;
}

// Of a delta, `frame` gets the last 8 bits of the number, `back` the distance of the reference.
bool take_header(base::Bytes* rest, CellFrameHeader* h, uint32_t* back) {
  uint8_t first = 0;
  if (!read_u8(rest, &first)) return false;
  *h = CellFrameHeader{};
  h->tracks = (first & kKeyframeBit) != 0 && (first & kDropBit) != 0;
  h->keyframe = !h->tracks && (first & kKeyframeBit) != 0;
  h->drop = !h->tracks && (first & kDropBit) != 0;
  h->has_checksum = (first & kChecksumBit) != 0;
  h->anchor = (first & kAnchorBit) != 0;
  h->layer = first >> kLayerShift & 3;
  const bool delta = !h->keyframe && !h->drop && !h->tracks;
  const bool part = (first & kPartBit) != 0;
  if ((part && !delta) || (h->anchor && h->layer != kChainLayer)) {
    return false;
  }
  uint32_t x = 0;
  uint32_t z = 0;
  if (!read_u32(rest, &x) || !read_u32(rest, &z) || x > 0xffff || z > 0xffff) return false;
  h->cell_x = static_cast<int16_t>(unzigzag(x));
  h->cell_z = static_cast<int16_t>(unzigzag(z));
  if ((first & kEpochBit) != 0 && !read_u32(rest, &h->epoch)) return false;
  *back = 0;
  if (delta) {
    uint8_t low = 0;
    if (!read_u8(rest, &low)) return false;
    h->frame = low;
    if (!part && h->layer == kChainLayer) *back = 1;
    if (!part && h->layer != kChainLayer && !read_u32(rest, back)) return false;
  } else if (!read_u32(rest, &h->frame)) {
    return false;
  }
  if (h->has_checksum) {
    if (rest->size() < 8) return false;
    h->checksum = base::load_le<uint64_t>(rest->data());
    *rest = rest->subspan(8);
  }
  return true;
}

bool read_name(BitReader& in, std::string* name) {
  const uint32_t length = in.bits(kNameLengthBits);
  if (length == kUuidName) {
    static constexpr char kDigits[] = "0123456789abcdef";
    name->clear();
    for (uint32_t i = 0; i < kUuidBytes; ++i) {
      const uint32_t b = in.bits(8);
      if (dash_before(i)) name->push_back('-');
      name->push_back(kDigits[b >> 4]);
      name->push_back(kDigits[b & 15]);
    }
    return !in.failed();
  }
  if (in.failed() || length > kNameBytesMax) return false;
  name->resize(length);
  for (char& c : *name) c = static_cast<char>(in.bits(8));
  return is_utf8(*name);
}

int8_t offset_of(uint32_t bits) {
  const auto v = static_cast<int32_t>(bits);
  return static_cast<int8_t>(v < 1 << (kOffsetBits - 1) ? v : v - (1 << kOffsetBits));
}

// Calls take(index) for `count` ascending numbers below `end`. False: malformed.
template <class Take>
bool read_gaps(BitReader& in, uint32_t count, uint32_t order, uint64_t end, Take&& take) {
  uint64_t at = UINT64_MAX;
  for (uint32_t i = 0; i < count; ++i) {
    at += uint64_t{in.golomb(order)} + 1;
    if (in.failed() || at >= end) return false;
    take(static_cast<uint32_t>(at));
  }
  return true;
}

}  // namespace

CellFrames::CellFrames(base::Bytes payload) : rest_(payload) {
  uint8_t layout = 0;
  malformed_ = !read_u8(&rest_, &layout) || layout != kCellLayout || !read_u32(&rest_, &tick_);
}

bool CellFrames::next(base::Bytes* frame) {
  if (malformed_ || rest_.empty()) return false;
  uint32_t size = 0;
  if (!read_u32(&rest_, &size) || size > rest_.size()) {
    malformed_ = true;
    return false;
  }
  *frame = rest_.first(size);
  rest_ = rest_.subspan(size);
  return true;
}

bool CellImage::read_header(base::Bytes frame, CellFrameHeader* out) {
  uint32_t back = 0;
  return take_header(&frame, out, &back);
}

CellStatus CellImage::apply(base::Bytes payload, uint32_t tick, Listener* listener) {
  CellFrameHeader header;
  uint32_t back = 0;
  const size_t whole = payload.size();
  if (!take_header(&payload, &header, &back)) return CellStatus::kMalformed;
  header.tick = tick_ = tick;
  if (!header.keyframe && !header.drop && !header.tracks) {
    // The number nearest to that of the image.
    const auto ahead = static_cast<int8_t>(header.frame - header_.frame);
    header.frame = header_.frame + static_cast<uint32_t>(int32_t{ahead});
    header.reference = header.frame - back;
  }
  comparing_ = false;
  if (tally_ != nullptr) count_header(header, whole - payload.size(), payload.size());
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
    in_keyframe_ = true;
    has_frame_ = apply_keyframe(in, listener);
    in_keyframe_ = false;
    chained_ = true;
    from_half_ = false;
  } else if (header.tracks) {
    header.layer = 0;
    if (!has_frame_ || !layer_[0].valid || header.epoch != header_.epoch ||
        header.frame != header_.frame || header.frame != layer_[0].frame) {
      return CellStatus::kMissingReference;
    }
    has_frame_ = apply_tracks(in);
    chained_ = true;
  } else {
    if (!find_reference(header, listener)) return CellStatus::kMissingReference;
    has_frame_ = apply_delta(in, header, listener);
    if (comparing_) report_differences(*listener);
  }
  if (!has_frame_) return CellStatus::kMalformed;
  if (header.tracks) {
    // The image is what it was.
  } else if (header.layer == 0 || header.anchor) {
    reach_anchor(header.frame, header.keyframe);
  } else if (header.layer == 1) {
    keep(layer_[1], header.frame);
  }
  header_ = header;
  if (tally_ != nullptr) {
    tally_->bits[static_cast<uint32_t>(CellPart::kFill)] += payload.size() * 8 - counted_;
  }
  if (header.has_checksum && checksum() != header.checksum) return CellStatus::kChecksumMismatch;
  return CellStatus::kOk;
}

void CellImage::count_header(const CellFrameHeader& header, size_t head, size_t body) {
  const size_t checksum = header.has_checksum ? sizeof header.checksum : 0;
  counted_ = 0;
  tally_->bits[static_cast<uint32_t>(CellPart::kHeader)] += (head - checksum) * 8;
  tally_->bits[static_cast<uint32_t>(CellPart::kChecksum)] += checksum * 8;
  if (header.keyframe) ++tally_->keyframes;
  if (header.tracks) ++tally_->tracks;
  if (header.keyframe || header.drop || header.tracks) return;
  ++tally_->deltas[header.layer];
  tally_->delta_bits[header.layer] += (head + body) * 8;
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
  const bool whole = in_keyframe_;
  if (tally_ != nullptr) ++(whole ? tally_->keyframe_members : tally_->enters);
  m.kind = static_cast<uint8_t>(in.bits(2));
  m.id = in.golomb(kIdOrder);
  if (!read_name(in, &m.name)) return false;
  count(in, whole ? CellPart::kKeyframe : CellPart::kEnterIdentity);
  m.x = in.golomb_signed(kPlaceOrder);
  m.z = in.golomb_signed(kPlaceOrder);
  m.y = in.golomb_signed(kHeightOrder);
  m.yaw = static_cast<uint8_t>(in.bits(8));
  m.flags = in.bit() ? in.bits(32) : in.bits(8);
  m.told = tick_ - in.bits(kAgeBits);
  for (CellTrack& t : m.track) t.speed = in.golomb_signed(kSpeedOrder);
  const bool has_offsets = in.bit();
  for (CellTrack& t : m.track) {
    t.offset = offset_of(has_offsets ? in.bits(kOffsetBits) : 0);
  }
  const bool has_pace = in.bit();
  for (int32_t& p : m.pace) p = has_pace ? in.golomb_signed(kPaceOrder) : 0;
  if (in.failed()) return false;
  count(in, whole ? CellPart::kKeyframe : CellPart::kEnterState);
  m.live = true;
  ++count_;
  const bool shown = comparing_ && slot < shown_.size() && shown_[slot].live;
  if (listener != nullptr && !shown) listener->on_enter(m);
  return true;
}

bool CellImage::apply_keyframe(BitReader& in, Listener* listener) {
  clear(listener);
  const uint32_t members = in.golomb(4);
  uint64_t slot = UINT64_MAX;
  for (uint32_t i = 0; i < members; ++i) {
    slot += uint64_t{in.golomb(kGapOrder)} + 1;
    if (in.failed() || slot >= kCellSlotsMax) return false;
    if (!read_member(in, static_cast<uint32_t>(slot), listener)) return false;
  }
  return in.at_end();
}

bool CellImage::apply_tracks(BitReader& in) {
  const uint32_t factor = in.bits(kFactorBits);
  const uint32_t order = in.bits(kOrderBits);
  for (Member& m : slots_) {
    if (!m.live) continue;
    m.told = tick_ - in.bits(kAgeBits);
    for (CellTrack& t : m.track) t = {};
    if (!in.bit()) continue;
    const auto axis = [&](int a) {
      m.track[a].speed = sum(in.golomb_signed(order), expected_speed(m.pace[a], factor));
      m.track[a].offset = offset_of(in.bits(kOffsetBits));
    };
    axis(0);
    axis(2);
    if (in.bit()) axis(1);
    if (in.failed()) return false;
  }
  count(in, CellPart::kTracks);
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
      if (tally_ != nullptr) ++tally_->leaves;
    }
    count(in, CellPart::kLeave);
    slot = UINT64_MAX;
    for (uint32_t n = in.golomb(0); n > 0; --n) {
      slot += uint64_t{in.golomb(kGapOrder)} + 1;
      if (in.failed() || slot >= kCellSlotsMax) return false;
      if (!read_member(in, static_cast<uint32_t>(slot), listener)) return false;
    }
  }
  const uint32_t changes = in.golomb(3);
  count(in, CellPart::kCounts);
  if (changes == 0) return in.at_end();
  if (tally_ != nullptr) tally_->changes[header.layer] += changes;
  if (!read_slots(in, header.layer, changes)) return false;
  count(in, CellPart::kGap);
  const bool alike = in.bit();
  const uint32_t usual = in.bits(kFormBits);
  const uint32_t order = in.bits(kOrderBits);
  const uint32_t yaw_order = in.bits(kOrderBits);
  count(in, CellPart::kCounts);
  for (const uint16_t slot : changed_) {
    if (slot >= slots_.size() || !slots_[slot].live) return false;
    Member& m = slots_[slot];
    const uint32_t form = alike || in.bit() ? usual : in.bits(kFormBits);
    count(in, CellPart::kForm);
    if (form & kFormMoved) {
      int32_t residual[3] = {};
      residual[0] = in.golomb_signed(order);
      residual[2] = in.golomb_signed(order);
      count(in, CellPart::kPlace);
      if (form & kFormHeight) residual[1] = in.golomb_signed(order);
      count(in, CellPart::kHeight);
      move(m, slot, header, residual);
    }
    if (form & kFormYaw) m.yaw = static_cast<uint8_t>(m.yaw + in.golomb_signed(yaw_order));
    count(in, CellPart::kYaw);
    if (form & kFormFlags) m.flags = in.bit() ? in.bits(32) : in.bits(8);
    count(in, CellPart::kFlags);
    if (in.failed()) return false;
    if (header.layer == kChainLayer) m.told = tick_;
    if (listener != nullptr && !comparing_) listener->on_change(m);
  }
  return in.at_end();
}

// The slots that change, into changed_.
bool CellImage::read_slots(BitReader& in, uint8_t layer, uint32_t changes) {
  changed_.clear();
  if (changes > kCellSlotsMax) return false;
  const auto add = [&](uint32_t slot) { changed_.push_back(static_cast<uint16_t>(slot)); };
  const uint32_t period = layer == kChainLayer ? in.bits(kPeriodBits) : 0;
  if (period == 0) {
    const uint32_t order = in.bits(kOrderBits);
    return read_gaps(in, changes, order, kCellSlotsMax, add);
  }
  due_.clear();
  for (size_t slot = 0; slot < slots_.size(); ++slot) {
    if (slots_[slot].live && slots_[slot].told == tick_ - period) {
      due_.push_back(static_cast<uint16_t>(slot));
    }
  }
  const uint32_t missed = in.golomb(0);
  if (in.failed() || missed > due_.size() || due_.size() - missed > changes) return false;
  size_t next = 0;
  const auto upto = [&](size_t end) {
    while (next < end) changed_.push_back(due_[next++]);
  };
  if (missed != 0) {
    const uint32_t order = in.bits(kOrderBits);
    const bool good = read_gaps(in, missed, order, due_.size(), [&](uint32_t index) {
      upto(index);
      ++next;
    });
    if (!good) return false;
  }
  upto(due_.size());
  const size_t kept = changed_.size();
  if (kept < changes) {
    const uint32_t order = in.bits(kOrderBits);
    if (!read_gaps(in, changes - static_cast<uint32_t>(kept), order, kCellSlotsMax, add)) {
      return false;
    }
    std::sort(changed_.begin(), changed_.end());  // a merge in place would allocate
    // Who was due cannot be told as if it was not.
    if (std::adjacent_find(changed_.begin(), changed_.end()) != changed_.end()) return false;
  }
  return !in.failed();
}

void CellImage::move(Member& m, uint32_t slot, const CellFrameHeader& header,
                     const int32_t (&residual)[3]) {
  int32_t* const place[3] = {&m.x, &m.y, &m.z};
  if (header.layer == kChainLayer) {
    for (int a = 0; a < 3; ++a) {
      const int32_t step = sum(m.track[a].expected(), residual[a]);
      m.track[a].follow(step);
      *place[a] = sum(*place[a], step);
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
