// SPDX-License-Identifier: Apache-2.0
// How an entity, or the place where an absent player last stood, is written in a snapshot of the
// world: one fixed part, the name, and bytes of the kind's own that readers may skip. Shards write
// records into SnapshotPiece messages; control writes the same bytes into the file and reads them.
// Thread: any. Owner: values; names and extra bytes are borrowed. Limits: kRecordBytesMax.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/assert.h"
#include "base/bytes.h"

namespace tidegate::mailbox {

inline constexpr uint8_t kSnapshotEntity = 0;  // it was in the world
inline constexpr uint8_t kSnapshotPlace = 1;   // an absent player; `position` is where it stood

// Little-endian on disk, as in memory on every machine this runs on (base/bytes.h asserts it).
struct SnapshotRecord {
  uint8_t source;        // kSnapshotEntity, kSnapshotPlace
  uint8_t kind;          // 0 player, 1 NPC, 2 object; others are kept for later versions
  uint8_t yaw;           // 256 steps about y
  uint8_t name_bytes;    // player id behind the record; 0 for none
  int32_t position[3];   // steps
  int16_t velocity[3];   // wire/quantise.h
  uint16_t extra_bytes;  // of the kind's own, behind the name
  uint32_t flags;        // movement flags; of a place: seconds since the player was seen
  uint32_t id;           // entity id in the process that wrote it; 0 for a place
};
static_assert(sizeof(SnapshotRecord) == 32, "layout of the file");

inline constexpr uint32_t kSnapshotNameMax = 64;
// Extra bytes of an NPC or object: the game's word (SpawnSpec::tag), little-endian; none when 0.
inline constexpr uint32_t kSnapshotExtraMax = sizeof(uint64_t);
inline constexpr uint32_t kSnapshotRecordBytesMax =
    sizeof(SnapshotRecord) + kSnapshotNameMax + kSnapshotExtraMax;

// Appends a record; returns its size. `out` must have kSnapshotRecordBytesMax bytes.
inline uint32_t write_record(uint8_t* out, SnapshotRecord record, std::string_view name,
                             uint64_t tag = 0) {
  TG_ASSERT(name.size() <= kSnapshotNameMax);
  record.name_bytes = static_cast<uint8_t>(name.size());
  record.extra_bytes = tag != 0 ? uint16_t{sizeof tag} : uint16_t{0};
  std::memcpy(out, &record, sizeof record);
  if (!name.empty()) std::memcpy(out + sizeof record, name.data(), name.size());
  if (tag != 0) std::memcpy(out + sizeof record + name.size(), &tag, sizeof tag);
  return static_cast<uint32_t>(sizeof record + name.size() + record.extra_bytes);
}

// Takes the record at the front of `*in` off; false when it is cut or its name is too long.
[[nodiscard]] inline bool read_record(base::Bytes* in, SnapshotRecord* record,
                                      std::string_view* name, base::Bytes* extra) {
  if (in->size() < sizeof *record) return false;
  std::memcpy(record, in->data(), sizeof *record);
  const size_t bytes = sizeof *record + record->name_bytes + size_t{record->extra_bytes};
  if (record->name_bytes > kSnapshotNameMax || in->size() < bytes) return false;
  *name = base::as_text(in->subspan(sizeof *record, record->name_bytes));
  *extra = in->subspan(sizeof *record + record->name_bytes, record->extra_bytes);
  *in = in->subspan(bytes);
  return true;
}

}  // namespace tidegate::mailbox
