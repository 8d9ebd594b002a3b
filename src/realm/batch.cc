// SPDX-License-Identifier: Apache-2.0
#include "realm/batch.h"

#include <cstring>

#include "base/assert.h"

namespace tidegate::realm {

namespace {

constexpr uint8_t kVersion = 1;
// Far outside of every world that a configuration allows, and no sum of two overflows.
constexpr int64_t kPositionMax = 1 << 29;

uint8_t* put_varint(uint8_t* p, uint64_t v) {
  while (v >= 0x80) {
    *p++ = static_cast<uint8_t>(v | 0x80);
    v >>= 7;
  }
  *p++ = static_cast<uint8_t>(v);
  return p;
}

uint8_t* put_zigzag(uint8_t* p, int64_t v) {
  return put_varint(p, static_cast<uint64_t>(v) << 1 ^ static_cast<uint64_t>(v >> 63));
}

uint8_t* put_u32(uint8_t* p, uint32_t v) {
  base::store_le(p, v);
  return p + sizeof v;
}

uint8_t* put_state(uint8_t* p, const State& s) {
  for (const int32_t v : s.position) p = put_zigzag(p, v);
  for (const int16_t v : s.velocity) p = put_zigzag(p, v);
  *p++ = s.yaw;
  return put_varint(p, s.flags);
}

uint8_t* put_bytes(uint8_t* p, base::Bytes bytes) {
  *p++ = static_cast<uint8_t>(bytes.size());
  if (!bytes.empty()) std::memcpy(p, bytes.data(), bytes.size());
  return p + bytes.size();
}

}  // namespace

uint64_t world_key(const world::WorldConfig& config) {
  uint64_t h = 0xcbf29ce484222325u;
  const auto mix = [&h](const void* data, size_t size) {
    for (size_t i = 0; i < size; ++i) {
      h = (h ^ static_cast<const uint8_t*>(data)[i]) * 0x100000001b3u;
    }
  };
  mix(config.zone_id.data(), config.zone_id.size());
  mix(&config.cell_size, sizeof config.cell_size);
  mix(&config.position_step, sizeof config.position_step);
  mix(config.bounds_min, sizeof config.bounds_min);
  mix(config.bounds_max, sizeof config.bounds_max);
  return h;
}

void BatchWriter::begin(const Head& head) {
  TG_ASSERT(room_.size() >= kHeadBytes);
  uint8_t* const p = room_.data();
  p[0] = kVersion;
  p[1] = static_cast<uint8_t>(head.kind);
  p[2] = head.number;
  p[3] = 0;
  base::store_le(p + 4, head.tick);
  base::store_le(p + 8, head.world);
  base::store_le(p + 16, static_cast<uint64_t>(head.unix_ms));
  used_ = kHeadBytes;
  records_ = 0;
}

bool BatchWriter::put(const Record& record) {
  if (room_.size() - used_ < kRecordBytesMax) return false;
  TG_ASSERT(record.name.size() <= world::kPlayerIdBytesMax &&
            record.custom.size() <= world::kCustomBytesMax);
  uint8_t* p = room_.data() + used_;
  *p++ = static_cast<uint8_t>(record.type);
  p = put_u32(p, record.id.value);
  if (record.type != RecordType::kState) p = put_u32(p, record.stamp);
  if (record.type != RecordType::kGone) p = put_state(p, record.state);
  if (record.type == RecordType::kWhole) {
    *p++ = static_cast<uint8_t>(record.kind);
    p = put_varint(p, record.tag);
    p = put_bytes(p, base::as_bytes(record.name));
    p = put_bytes(p, record.custom);
  }
  used_ = static_cast<uint32_t>(p - room_.data());
  ++records_;
  return true;
}

bool BatchWriter::put(Block block) {
  if (room_.size() - used_ < sizeof(uint32_t)) return false;
  base::store_le(room_.data() + used_, block.packed());
  used_ += sizeof(uint32_t);
  ++records_;
  return true;
}

bool BatchReader::head(Head* out) {
  if (bytes_.size() < kHeadBytes || bytes_[0] != kVersion) return false;
  if (bytes_[1] != static_cast<uint8_t>(Kind::kStates) &&
      bytes_[1] != static_cast<uint8_t>(Kind::kAreas)) {
    return false;
  }
  out->kind = static_cast<Kind>(bytes_[1]);
  out->number = bytes_[2];
  out->tick = base::load_le<uint32_t>(bytes_.data() + 4);
  out->world = base::load_le<uint64_t>(bytes_.data() + 8);
  out->unix_ms = static_cast<base::UnixMs>(base::load_le<uint64_t>(bytes_.data() + 16));
  at_ = kHeadBytes;
  return out->number != 0 && out->number <= kNumberMax;
}

bool BatchReader::varint(uint64_t* out) {
  uint64_t v = 0;
  for (uint32_t shift = 0; shift < 64; shift += 7) {
    uint8_t b = 0;
    if (!byte(&b)) return false;
    v |= static_cast<uint64_t>(b & 0x7f) << shift;
    if (b < 0x80) {
      *out = v;
      return true;
    }
  }
  return false;
}

bool BatchReader::zigzag(int64_t low, int64_t high, int64_t* out) {
  uint64_t v = 0;
  if (!varint(&v)) return false;
  *out = static_cast<int64_t>(v >> 1) ^ -static_cast<int64_t>(v & 1);
  return *out >= low && *out <= high;
}

bool BatchReader::u32(uint32_t* out) {
  if (bytes_.size() - at_ < sizeof *out) return false;
  *out = base::load_le<uint32_t>(bytes_.data() + at_);
  at_ += sizeof *out;
  return true;
}

bool BatchReader::byte(uint8_t* out) {
  if (at_ == bytes_.size()) return false;
  *out = bytes_[at_++];
  return true;
}

bool BatchReader::state(State* out) {
  int64_t v = 0;
  for (int32_t& to : out->position) {
    if (!zigzag(-kPositionMax, kPositionMax, &v)) return false;
    to = static_cast<int32_t>(v);
  }
  for (int16_t& to : out->velocity) {
    if (!zigzag(INT16_MIN, INT16_MAX, &v)) return false;
    to = static_cast<int16_t>(v);
  }
  uint64_t flags = 0;
  if (!byte(&out->yaw) || !varint(&flags) || flags > UINT32_MAX) return false;
  out->flags = static_cast<uint32_t>(flags);
  return true;
}

bool BatchReader::view(uint32_t limit, base::Bytes* out) {
  uint8_t size = 0;
  if (!byte(&size) || size > limit || bytes_.size() - at_ < size) return false;
  *out = bytes_.subspan(at_, size);
  at_ += size;
  return true;
}

BatchReader::Next BatchReader::next(Record* out) {
  if (at_ == bytes_.size()) return Next::kEnd;
  *out = Record{};
  uint8_t type = 0;
  if (!byte(&type) || type < static_cast<uint8_t>(RecordType::kState) ||
      type > static_cast<uint8_t>(RecordType::kGone)) {
    return Next::kBad;
  }
  out->type = static_cast<RecordType>(type);
  if (!u32(&out->id.value) || out->id.value == 0 || !out->id.valid()) return Next::kBad;
  if (out->type != RecordType::kState && !u32(&out->stamp)) return Next::kBad;
  if (out->type != RecordType::kGone && !state(&out->state)) return Next::kBad;
  if (out->type != RecordType::kWhole) return Next::kOk;
  uint8_t kind = 0;
  base::Bytes name;
  if (!byte(&kind) || kind > static_cast<uint8_t>(world::EntityKind::kObject) ||
      !varint(&out->tag) || !view(world::kPlayerIdBytesMax, &name) || name.empty() ||
      !view(world::kCustomBytesMax, &out->custom)) {
    return Next::kBad;
  }
  out->kind = static_cast<world::EntityKind>(kind);
  out->name = base::as_text(name);
  return Next::kOk;
}

BatchReader::Next BatchReader::next(Block* out) {
  if (at_ == bytes_.size()) return Next::kEnd;
  uint32_t packed = 0;
  if (!u32(&packed)) return Next::kBad;
  const world::CellKey key = world::CellKey::from_packed(packed);
  *out = {key.x, key.z};
  return Next::kOk;
}

}  // namespace tidegate::realm
