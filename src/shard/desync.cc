// SPDX-License-Identifier: Apache-2.0
// The desync alarm: a client's checksum of a cell goes to the cell's owner, which judges it. A
// wrong one is counted, told to control with both sides, and answered by the client's shard with a
// keyframe of that cell.
#include <cstring>

#include "shard/shard.h"
#include "wire/cell_codec.h"
#include "wire/messages.h"

namespace tidegate::shard {

using mailbox::read_message;
using metrics::Counter;

namespace {

// A report may cost its owner a walk over the cell.
constexpr uint32_t kReportsPerSecond = 100;
constexpr uint32_t kDumpRowsMax = wire::kReportMembersMax;  // of each side

}  // namespace

Handled Shard::on_cell_report(uint32_t slot, const wire::CellReport& report) {
  if (report.cell_x < INT16_MIN || report.cell_x > INT16_MAX || report.cell_z < INT16_MIN ||
      report.cell_z > INT16_MAX || report.members.size() % wire::kCellRowBytes != 0 ||
      report.members.size() > kDumpRowsMax * wire::kCellRowBytes) {
    return Handled::kInvalid;
  }
  Player& player = players_[slot];
  if ((player.flags & kPacked) == 0 || !interest_.watching(slot)) {
    violation(slot, wire::kErrorNotPermitted, "CELL_REPORT by a client without packed state");
    return Handled::kAnswered;
  }
  mailbox::CellReported message{};
  message.connection = endpoint_.ref(slot);
  message.cell_x = static_cast<int16_t>(report.cell_x);
  message.cell_z = static_cast<int16_t>(report.cell_z);
  message.frame = report.frame;
  message.tick = report.tick;
  message.checksum = report.checksum;
  message.expected = report.expected;
  const world::CellKey cell{message.cell_x, message.cell_z};
  // A cell that was let go while the report was on its way is no mistake of the client.
  // Reports may be lost to a full ring: the client's next one says the same.
  if (report.epoch != 0 || !interest_.has(slot, cell) ||
      !player.reports.take(endpoint_.now_ms(), kReportsPerSecond, kReportsPerSecond) ||
      !mailbox_.post(slice_.owners().owner(cell).value, message, report.members)) {
    counters_.add(Counter::kReportsUnknown, 1);
  }
  return Handled::kOk;
}

void Shard::on_cell_reported(mailbox::AgentId from, base::Bytes bytes) {
  base::Bytes client_rows;
  const auto report = read_message<mailbox::CellReported>(bytes, &client_rows);
  const world::CellKey cell{report.cell_x, report.cell_z};
  switch (slice_.judge_report(cell, report.frame, report.checksum, report.expected)) {
    case world::ReportVerdict::kAgrees:
      counters_.add(Counter::kReportsAgreed, 1);
      return;
    case world::ReportVerdict::kUnknown:
      counters_.add(Counter::kReportsUnknown, 1);
      return;
    case world::ReportVerdict::kDiffers:
      break;
  }
  counters_.add(Counter::kDesyncs, 1);
  // Lost when the ring is full: the client goes on reporting until it is healed.
  (void)mailbox_.post(from, mailbox::CellDisputed{report.connection, report.cell_x, report.cell_z});

  const uint32_t tick = barrier_.tick();
  if (static_cast<int32_t>(tick - dump_tick_) < 0) return;
  dump_tick_ = tick + config_.world.tick_rate;
  wire::CellRow rows[kDumpRowsMax];
  uint32_t in_past = 0;
  const uint32_t n = slice_.rows_of(cell, report.tick, rows, &in_past);
  uint8_t tail[2 * kDumpRowsMax * wire::kCellRowBytes];
  for (uint32_t i = 0; i < n; ++i) wire::write_cell_row(tail + i * wire::kCellRowBytes, rows[i]);
  const size_t own = n * wire::kCellRowBytes;
  if (!client_rows.empty()) std::memcpy(tail + own, client_rows.data(), client_rows.size());
  mailbox::CellDump dump{};
  dump.connection = report.connection;
  dump.connection_shard = static_cast<uint16_t>(from);
  dump.server_rows = static_cast<uint16_t>(n);
  dump.server_rows_in_past = static_cast<uint16_t>(in_past);
  dump.client_rows = static_cast<uint16_t>(client_rows.size() / wire::kCellRowBytes);
  dump.cell_x = report.cell_x;
  dump.cell_z = report.cell_z;
  dump.frame = report.frame;
  dump.tick = report.tick;
  dump.tick_now = tick;
  dump.checksum = report.checksum;
  dump.expected = report.expected;
  // Of no use later: not kept when the ring to control is full.
  (void)mailbox_.post(mailbox_.control(), dump, {tail, own + client_rows.size()});
}

void Shard::on_cell_disputed(base::Bytes bytes) {
  const auto disputed = read_message<mailbox::CellDisputed>(bytes);
  const uint32_t slot = endpoint_.find(disputed.connection);
  if (slot == net::kNone || !interest_.watching(slot)) return;
  interest_.heal(slot, {disputed.cell_x, disputed.cell_z});
}

}  // namespace tidegate::shard
