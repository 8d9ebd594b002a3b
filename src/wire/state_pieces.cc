// SPDX-License-Identifier: Apache-2.0
#include "wire/state_pieces.h"

#include "wire/messages.h"

namespace tidegate::wire {
namespace {

constexpr uint32_t kSnapshotZone = 3;
constexpr uint32_t kSpawnState = 1;
constexpr uint32_t kSpawnKind = 2;

void copy_field(PbWriter& out, const PbReader& field) {
  switch (field.type()) {
    case WireType::kVarint:
      out.put_varint(field.field(), field.varint());
      break;
    case WireType::kBytes:
      out.put_bytes(field.field(), field.bytes());
      break;
    default:
      break;  // these messages have none
  }
}

}  // namespace

StatePieces::StatePieces(MessageType type, base::Bytes payload, base::MutableBytes scratch)
    : world_(type == MessageType::kWorldState), payload_(payload), scratch_(scratch) {
  PbReader reader(payload);
  while (reader.next()) {
    const uint32_t zone = world_ ? kSnapshotZone : kZoneId;
    if (reader.field() == zone && reader.is(WireType::kBytes)) zone_ = reader.bytes();
  }
}

bool StatePieces::is_entry(uint32_t field) const {
  return world_ ? field >= kSnapshotPlayers && field <= kSnapshotObjects
                : field >= kZoneSpawns && field <= kZoneUpdates;
}

void StatePieces::put_entry(PbWriter& out, const PbReader& field, bool first) const {
  if (first || !world_) {
    copy_field(out, field);
    return;
  }
  const size_t mark = out.begin(kZoneSpawns);
  out.put_bytes(kSpawnState, field.bytes());
  out.varint(kSpawnKind, field.field() - kSnapshotPlayers);  // player, NPC, object
  out.end(mark);
}

bool StatePieces::next(uint32_t bytes, Piece* out) {
  before_ = at_;
  if (at_ == payload_.size() && at_ != 0) return false;
  const bool first = at_ == 0;
  PbWriter writer(scratch_);
  out->type = first && world_ ? MessageType::kWorldState : MessageType::kZoneUpdate;
  out->entries = 0;
  if (first) {
    PbReader once(payload_);
    while (once.next()) {
      if (!is_entry(once.field())) copy_field(writer, once);
    }
    if (once.failed()) return false;
  } else if (!zone_.empty()) {
    writer.put_bytes(kZoneId, zone_);
  }
  PbReader reader(payload_.subspan(at_));
  size_t taken = 0;
  for (base::Bytes rest = payload_.subspan(at_); reader.next(); rest = reader.rest()) {
    const size_t behind = payload_.size() - reader.rest().size();
    if (is_entry(reader.field()) && reader.is(WireType::kBytes)) {
      const size_t size = rest.size() - reader.rest().size();
      if (out->entries != 0 && taken + size > bytes) break;
      taken += size;
      ++out->entries;
      put_entry(writer, reader, first);
    }
    at_ = behind;
  }
  if (reader.failed() || writer.overflow()) return false;
  out->payload = writer.written();
  return first || out->entries != 0;
}

}  // namespace tidegate::wire
