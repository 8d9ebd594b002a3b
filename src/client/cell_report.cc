// SPDX-License-Identifier: Apache-2.0
#include "client/cell_report.h"

#include <algorithm>

#include "wire/envelope.h"
#include "wire/messages.h"

namespace tidegate::client {

uint32_t write_cell_report(std::vector<uint8_t>& buffer, const wire::CellImage& image, Rows rows) {
  const wire::CellFrameHeader& header = image.header();
  wire::CellReport report;
  report.cell_x = header.cell_x;
  report.cell_z = header.cell_z;
  report.epoch = header.epoch;
  report.frame = header.frame;
  report.tick = header.tick;
  report.checksum = image.checksum();
  report.expected = header.has_checksum ? header.checksum : 0;
  std::vector<uint8_t> members;
  if (rows == Rows::kYes) {
    std::vector<wire::CellRow> list(std::min(image.count(), wire::kReportMembersMax));
    list.resize(image.rows(list));
    members.resize(list.size() * wire::kCellRowBytes);
    for (size_t i = 0; i < list.size(); ++i) {
      wire::write_cell_row(members.data() + i * wire::kCellRowBytes, list[i]);
    }
    report.members = members;
  }
  if (buffer.size() < 512 + members.size()) buffer.resize(512 + members.size());
  wire::MessageWriter writer(buffer, {.type = wire::MessageType::kCellReport});
  wire::encode(writer.payload(), report);
  return writer.finish();
}

}  // namespace tidegate::client
