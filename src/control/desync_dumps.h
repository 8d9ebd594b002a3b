// SPDX-License-Identifier: Apache-2.0
// What is written down when a client's checksum of a cell was wrong: one JSON file with the rows of
// the cell's owner, those of the client, and where they differ. A log line says so, at most one in
// kLogInterval. Shards send at most one such message a second.
// Thread: control (it writes small files: it may block). Owner: Server. Limits: the newest `keep`
// files stay.
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/time.h"
#include "mailbox/mailboxes.h"
#include "metrics/metrics.h"

namespace tidegate::control {

class DesyncDumps {
 public:
  static constexpr int64_t kLogIntervalMs = 10'000;

  // `directory` "": nothing is written, only said.
  DesyncDumps(std::string directory, uint32_t keep, metrics::Counters& counters);

  // mailbox::CellDump of shard `from`.
  void on_dump(mailbox::AgentId from, base::Bytes bytes, base::UnixMs unix_ms);

 private:
  bool write(const std::string& name, const std::string& text, std::string* problem);
  void remove_old() const;

  std::string directory_;
  uint32_t keep_;
  metrics::Counters& counters_;
  base::UnixMs said_at_ = 0;  // 0: never
};

// The file's text. Rows that the message promises and does not carry are left out.
std::string desync_json(mailbox::AgentId owner, const mailbox::CellDump& dump, base::Bytes rows,
                        base::UnixMs unix_ms);

}  // namespace tidegate::control
