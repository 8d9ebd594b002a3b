// SPDX-License-Identifier: Apache-2.0
// CELL_REPORT of a cell's image (docs/protocol.md): the client's checksum, with the rows it was
// made of when it differs from the server's. Thread: any. Owner: the caller's buffers. Limits:
// kReportMembersMax rows.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "wire/cell_codec.h"

namespace tidegate::client {

enum class Rows : uint8_t { kNo, kYes };

// Writes the whole message, frame and envelope, into `buffer`, which it makes large enough. Returns
// its size.
uint32_t write_cell_report(std::vector<uint8_t>& buffer, const wire::CellImage& image, Rows rows);

}  // namespace tidegate::client
