// SPDX-License-Identifier: Apache-2.0
// Snapshot files, by the first byte: as they are, with the checksum set right, so that what stands
// behind it is reached, or the unpacked content alone. Never a crash, and what is accepted is
// consistent: the header's counts, names within their limit, and the same after it is written anew.
#include <cstdlib>

#include "control/snapshot_file.h"

using namespace tidegate;

namespace {

void check(const control::Snapshot& s) {
  uint64_t counts[2] = {};
  std::vector<uint8_t> records;
  for (const control::SnapshotRow& row : s.rows) {
    if (row.name.size() > mailbox::kSnapshotNameMax || row.record.source > 1) std::abort();
    ++counts[row.record.source];
    const auto* const at = reinterpret_cast<const uint8_t*>(&row.record);
    records.insert(records.end(), at, at + sizeof row.record);
    records.insert(records.end(), row.name.begin(), row.name.end());
    records.insert(records.end(), row.extra.begin(), row.extra.end());
  }
  if (counts[0] != s.header.entities || counts[1] != s.header.places) std::abort();
  control::Snapshot again;
  const std::vector<uint8_t> file =
      control::make_snapshot_file(s.world, s.header.tick, s.header.unix_ms, {records});
  if (control::read_snapshot_file(file, &again) != control::SnapshotStatus::kOk) std::abort();
  if (again.rows.size() != s.rows.size() || again.header.fingerprint != s.world.fingerprint()) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::vector<uint8_t> bytes(data + 1, data + size);
  control::Snapshot s;
  switch (data[0] % 3) {
    case 0:
      if (control::read_snapshot_file(bytes, &s, 1 << 20) == control::SnapshotStatus::kOk) check(s);
      break;
    case 1:
      if (bytes.size() < control::kSnapshotHeaderBytes) return 0;
      control::seal_snapshot_file(bytes);
      if (control::read_snapshot_file(bytes, &s, 1 << 20) == control::SnapshotStatus::kOk) check(s);
      break;
    default:
      if (bytes.size() < 4) return 0;
      s.header.entities = bytes[0];
      s.header.places = bytes[1];
      bytes.erase(bytes.begin(), bytes.begin() + 2);
      if (control::read_snapshot_content(bytes, &s) == control::SnapshotStatus::kOk) check(s);
      break;
  }
  return 0;
}
