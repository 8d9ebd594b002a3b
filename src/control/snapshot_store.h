// SPDX-License-Identifier: Apache-2.0
// The folder with the snapshots: snapshot-000000000042.tgs, rising numbers, the newest `keep` of
// them. A new one is written beside them under a temporary name, flushed, renamed, and the folder
// flushed, so that a name that ends in .tgs stands for a whole file whatever happens in between;
// older ones go only when that is done.
// Thread: one at a time (list: any). Owner: SnapshotService. Limits: kSnapshotFilesMax listed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "control/snapshot_file.h"

namespace tidegate::control {

inline constexpr size_t kSnapshotFilesMax = 10'000;

struct SnapshotFileInfo {
  uint64_t number = 0;
  std::string name;  // without the folder
  uint64_t bytes = 0;
  SnapshotStatus status = SnapshotStatus::kOk;  // of header and length; content is not looked at
  SnapshotHeader header;                        // valid with kOk
};

class SnapshotStore {
 public:
  SnapshotStore(std::string directory, uint32_t keep);

  // Makes the folder when it is missing, removes what a crash left half written, and finds the
  // number of the next file. False with text and remedy when the folder cannot be used.
  [[nodiscard]] bool prepare_blocking(std::string* error);
  // Newest first.
  std::vector<SnapshotFileInfo> list_blocking() const;
  // The bytes of one file; false with text.
  [[nodiscard]] bool read_blocking(const std::string& name, std::vector<uint8_t>* out,
                                   std::string* error) const;
  // Writes a new file and removes the oldest beyond `keep`. False with text and remedy: then
  // nothing has changed but that a temporary file may lie there until the next time.
  [[nodiscard]] bool write_blocking(base::Bytes file, std::string* name, std::string* error);

  const std::string& directory() const { return directory_; }

 private:
  std::string directory_;
  uint32_t keep_;
  uint64_t next_number_ = 1;
  bool prepared_ = false;
};

}  // namespace tidegate::control
