// SPDX-License-Identifier: Apache-2.0
// The bytes of a snapshot file: made here, and read here without trust. A file is
//
//   header, 72 bytes little-endian: magic "TGSNAP\r\n", version u32, header size u32, stored bytes
//     u64, raw bytes u64, Unix ms i64, tick u32, entities u32, places u32, 0 u32, fingerprint of
//     the world u64, XXH3-64 over the 64 bytes before and the stored content u64
//   content, one zstd frame: size of the world part u32, the world part (SnapshotWorld), then the
//     records of mailbox/snapshot_record.h back to back
//
// so every flipped bit and every missing byte is found before anything of the content is believed.
// What the content says is checked as well: a checksum is no signature.
// Thread: any. Owner: values. Limits: kSnapshotRawMax.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"
#include "mailbox/snapshot_record.h"

namespace tidegate::control {

inline constexpr uint32_t kSnapshotVersion = 1;
inline constexpr size_t kSnapshotHeaderBytes = 72;
inline constexpr uint64_t kSnapshotRawMax = uint64_t{1} << 30;  // ten million entities

enum class SnapshotStatus : uint8_t {
  kOk = 0,
  kShort,     // shorter than a header
  kMagic,     // not a snapshot
  kVersion,   // of a version this program does not read
  kCut,       // bytes are missing behind the header
  kTrailing,  // bytes behind the end
  kChecksum,  // some bit differs from what was written
  kTooLarge,  // claims more than kSnapshotRawMax
  kPacked,    // the zstd frame does not hold what the header says
  kWorld,     // the world part is malformed
  kRecords,   // a record is malformed, or their number is not the header's
};
// What is wrong, for a log line.
const char* describe(SnapshotStatus status);

// The configuration positions depend on.
struct SnapshotWorld {
  uint32_t tick_rate = 0;    // Hz
  float position_step = 0;   // metres
  float cell_size = 0;       // metres
  float bounds_min[3] = {};  // metres
  float bounds_max[3] = {};
  std::string zone;
  // Equal for equal worlds: XXH3-64 over steps, cell size, bounds and zone. Not over the tick rate,
  // which no position depends on.
  uint64_t fingerprint() const;
};

struct SnapshotHeader {
  uint32_t version = 0;
  uint64_t stored_bytes = 0;  // behind the header
  uint64_t raw_bytes = 0;     // of the content
  base::UnixMs unix_ms = 0;
  uint32_t tick = 0;
  uint32_t entities = 0, places = 0;
  uint64_t fingerprint = 0;
  uint64_t checksum = 0;
};

struct SnapshotRow {
  mailbox::SnapshotRecord record;
  std::string_view name;  // into Snapshot::content
  base::Bytes extra;
};

struct Snapshot {
  SnapshotHeader header;
  SnapshotWorld world;
  std::vector<uint8_t> content;
  std::vector<SnapshotRow> rows;
};

// A whole file. `records`: parts of one list, as they came from the shards; the counts are theirs.
std::vector<uint8_t> make_snapshot_file(const SnapshotWorld& world, uint32_t tick,
                                        base::UnixMs unix_ms,
                                        const std::vector<std::vector<uint8_t>>& records);

// The header alone: what a list shows. Checks neither length nor checksum.
[[nodiscard]] SnapshotStatus read_snapshot_header(base::Bytes file, SnapshotHeader* out);
// Everything; `out` is complete only with kOk.
[[nodiscard]] SnapshotStatus read_snapshot_file(base::Bytes file, Snapshot* out,
                                                uint64_t raw_bytes_max = kSnapshotRawMax);
// The unpacked content alone; part of the above, on its own for the fuzzer.
[[nodiscard]] SnapshotStatus read_snapshot_content(std::vector<uint8_t> content, Snapshot* out);

// Sets the checksum of a file that was changed; for tests and the fuzzer, so that they reach what
// stands behind it.
void seal_snapshot_file(base::MutableBytes file);

}  // namespace tidegate::control
