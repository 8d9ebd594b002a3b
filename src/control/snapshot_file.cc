// SPDX-License-Identifier: Apache-2.0
#include "control/snapshot_file.h"

#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>
#include <zstd.h>

#include <cmath>
#include <cstring>

#include "base/assert.h"

namespace tidegate::control {
namespace {

constexpr uint8_t kMagic[8] = {'T', 'G', 'S', 'N', 'A', 'P', '\r', '\n'};
constexpr size_t kChecksumAt = 64;
constexpr int kLevel = 3;  // the fastest level that still finds repeated names
constexpr size_t kZoneBytesMax = 256;

template <class T>
void put(std::vector<uint8_t>* out, T v) {
  const size_t at = out->size();
  out->resize(at + sizeof v);
  base::store_le(out->data() + at, v);
}

// Takes a value off the front; false at the end.
template <class T>
bool take(base::Bytes* in, T* v) {
  if (in->size() < sizeof *v) return false;
  *v = base::load_le<T>(in->data());
  *in = in->subspan(sizeof *v);
  return true;
}

void put_world(std::vector<uint8_t>* out, const SnapshotWorld& world) {
  put(out, world.tick_rate);
  put(out, world.position_step);
  put(out, world.cell_size);
  for (const float v : world.bounds_min) put(out, v);
  for (const float v : world.bounds_max) put(out, v);
  put(out, static_cast<uint16_t>(world.zone.size()));
  out->insert(out->end(), world.zone.begin(), world.zone.end());
}

bool take_world(base::Bytes in, SnapshotWorld* world) {
  if (!take(&in, &world->tick_rate) || !take(&in, &world->position_step) ||
      !take(&in, &world->cell_size)) {
    return false;
  }
  for (float& v : world->bounds_min) {
    if (!take(&in, &v) || !std::isfinite(v)) return false;
  }
  for (float& v : world->bounds_max) {
    if (!take(&in, &v) || !std::isfinite(v)) return false;
  }
  uint16_t zone_bytes = 0;
  if (!take(&in, &zone_bytes) || zone_bytes > kZoneBytesMax || in.size() < zone_bytes) return false;
  world->zone = base::as_text(in.first(zone_bytes));
  // A step of nothing or without end would make positions of nowhere.
  return std::isfinite(world->position_step) && world->position_step > 1e-6F &&
         world->position_step < 1e6F && std::isfinite(world->cell_size);
}

uint64_t checksum_of(base::Bytes file) {
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  XXH3_64bits_update(&state, file.data(), kChecksumAt);
  XXH3_64bits_update(&state, file.data() + kSnapshotHeaderBytes,
                     file.size() - kSnapshotHeaderBytes);
  return XXH3_64bits_digest(&state);
}

}  // namespace

const char* describe(SnapshotStatus status) {
  switch (status) {
    case SnapshotStatus::kOk:
      return "ok";
    case SnapshotStatus::kShort:
      return "it is shorter than a header";
    case SnapshotStatus::kMagic:
      return "it is not a snapshot";
    case SnapshotStatus::kVersion:
      return "it was written in a format version that this program does not read";
    case SnapshotStatus::kCut:
      return "it is cut: bytes are missing at its end";
    case SnapshotStatus::kTrailing:
      return "there are bytes behind its end";
    case SnapshotStatus::kChecksum:
      return "its checksum differs: it is damaged";
    case SnapshotStatus::kTooLarge:
      return "it claims to be larger than a snapshot can be";
    case SnapshotStatus::kPacked:
      return "its compressed part is damaged";
    case SnapshotStatus::kWorld:
      return "its description of the world is malformed";
    case SnapshotStatus::kRecords:
      return "its records are malformed";
  }
  return "?";
}

uint64_t SnapshotWorld::fingerprint() const {
  SnapshotWorld world = *this;
  world.tick_rate = 0;
  std::vector<uint8_t> bytes;
  put_world(&bytes, world);
  return XXH3_64bits(bytes.data(), bytes.size());
}

void seal_snapshot_file(base::MutableBytes file) {
  TG_ASSERT(file.size() >= kSnapshotHeaderBytes);
  base::store_le(file.data() + kChecksumAt, checksum_of(file));
}

std::vector<uint8_t> make_snapshot_file(const SnapshotWorld& world, uint32_t tick,
                                        base::UnixMs unix_ms,
                                        const std::vector<std::vector<uint8_t>>& records) {
  TG_ASSERT(world.zone.size() <= kZoneBytesMax);
  std::vector<uint8_t> content;
  size_t bytes = kZoneBytesMax + 64;
  for (const std::vector<uint8_t>& part : records) bytes += part.size();
  content.reserve(bytes);
  put(&content, uint32_t{0});
  put_world(&content, world);
  base::store_le(content.data(), static_cast<uint32_t>(content.size() - sizeof(uint32_t)));
  uint32_t counts[2] = {};
  for (const std::vector<uint8_t>& part : records) {
    base::Bytes rest = part;
    SnapshotRow row;
    while (!rest.empty()) {
      TG_ASSERT(mailbox::read_record(&rest, &row.record, &row.name, &row.extra));
      TG_ASSERT(row.record.source <= mailbox::kSnapshotPlace);
      ++counts[row.record.source];
    }
    content.insert(content.end(), part.begin(), part.end());
  }
  std::vector<uint8_t> file(kSnapshotHeaderBytes + ZSTD_compressBound(content.size()));
  const size_t stored =
      ZSTD_compress(file.data() + kSnapshotHeaderBytes, file.size() - kSnapshotHeaderBytes,
                    content.data(), content.size(), kLevel);
  TG_ASSERT(ZSTD_isError(stored) == 0);
  file.resize(kSnapshotHeaderBytes + stored);
  uint8_t* p = file.data();
  std::memcpy(p, kMagic, sizeof kMagic);
  base::store_le(p + 8, kSnapshotVersion);
  base::store_le(p + 12, static_cast<uint32_t>(kSnapshotHeaderBytes));
  base::store_le(p + 16, uint64_t{stored});
  base::store_le(p + 24, uint64_t{content.size()});
  base::store_le(p + 32, int64_t{unix_ms});
  base::store_le(p + 40, tick);
  base::store_le(p + 44, counts[mailbox::kSnapshotEntity]);
  base::store_le(p + 48, counts[mailbox::kSnapshotPlace]);
  base::store_le(p + 52, uint32_t{0});
  base::store_le(p + 56, world.fingerprint());
  seal_snapshot_file(file);
  return file;
}

SnapshotStatus read_snapshot_header(base::Bytes file, SnapshotHeader* out) {
  if (file.size() >= sizeof kMagic && std::memcmp(file.data(), kMagic, sizeof kMagic) != 0) {
    return SnapshotStatus::kMagic;
  }
  if (file.size() < kSnapshotHeaderBytes) return SnapshotStatus::kShort;
  const uint8_t* p = file.data();
  out->version = base::load_le<uint32_t>(p + 8);
  if (out->version != kSnapshotVersion || base::load_le<uint32_t>(p + 12) != kSnapshotHeaderBytes) {
    return SnapshotStatus::kVersion;
  }
  out->stored_bytes = base::load_le<uint64_t>(p + 16);
  out->raw_bytes = base::load_le<uint64_t>(p + 24);
  out->unix_ms = base::load_le<int64_t>(p + 32);
  out->tick = base::load_le<uint32_t>(p + 40);
  out->entities = base::load_le<uint32_t>(p + 44);
  out->places = base::load_le<uint32_t>(p + 48);
  out->fingerprint = base::load_le<uint64_t>(p + 56);
  out->checksum = base::load_le<uint64_t>(p + kChecksumAt);
  return SnapshotStatus::kOk;
}

SnapshotStatus read_snapshot_content(std::vector<uint8_t> content, Snapshot* out) {
  out->content = std::move(content);
  base::Bytes rest = out->content;
  uint32_t world_bytes = 0;
  if (!take(&rest, &world_bytes) || world_bytes > rest.size() ||
      !take_world(rest.first(world_bytes), &out->world)) {
    return SnapshotStatus::kWorld;
  }
  rest = rest.subspan(world_bytes);
  out->rows.clear();
  uint64_t counts[2] = {};
  SnapshotRow row;
  while (!rest.empty()) {
    if (!mailbox::read_record(&rest, &row.record, &row.name, &row.extra) ||
        row.record.source > mailbox::kSnapshotPlace) {
      return SnapshotStatus::kRecords;
    }
    ++counts[row.record.source];
    out->rows.push_back(row);
  }
  if (counts[mailbox::kSnapshotEntity] != out->header.entities ||
      counts[mailbox::kSnapshotPlace] != out->header.places) {
    return SnapshotStatus::kRecords;
  }
  return SnapshotStatus::kOk;
}

SnapshotStatus read_snapshot_file(base::Bytes file, Snapshot* out, uint64_t raw_bytes_max) {
  const SnapshotStatus status = read_snapshot_header(file, &out->header);
  if (status != SnapshotStatus::kOk) return status;
  const SnapshotHeader& header = out->header;
  const uint64_t stored = file.size() - kSnapshotHeaderBytes;
  if (stored < header.stored_bytes) return SnapshotStatus::kCut;
  if (stored > header.stored_bytes) return SnapshotStatus::kTrailing;
  if (checksum_of(file) != header.checksum) return SnapshotStatus::kChecksum;
  if (header.raw_bytes > raw_bytes_max) return SnapshotStatus::kTooLarge;
  const uint8_t* packed = file.data() + kSnapshotHeaderBytes;
  // The frame must say the same before memory is taken for it.
  if (ZSTD_getFrameContentSize(packed, stored) != header.raw_bytes) return SnapshotStatus::kPacked;
  std::vector<uint8_t> content(header.raw_bytes);
  const size_t n = ZSTD_decompress(content.data(), content.size(), packed, stored);
  if (ZSTD_isError(n) != 0 || n != content.size()) return SnapshotStatus::kPacked;
  const SnapshotStatus content_status = read_snapshot_content(std::move(content), out);
  if (content_status != SnapshotStatus::kOk) return content_status;
  if (out->world.fingerprint() != header.fingerprint) return SnapshotStatus::kWorld;
  return SnapshotStatus::kOk;
}

}  // namespace tidegate::control
