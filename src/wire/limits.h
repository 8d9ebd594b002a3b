// SPDX-License-Identifier: Apache-2.0
// Limits of the wire (protocol.md), in bytes.
// Thread: any. Owner: none. Limits: these.
#pragma once

#include <cstdint>

namespace tidegate::wire {

inline constexpr uint32_t kMessageBytesIn = 64 * 1024;   // default limit of one WebSocket message
inline constexpr uint32_t kMessageBytesOut = 60 * 1024;  // what the server puts into one
inline constexpr uint32_t kHeartbeatBytesMax = 125;
inline constexpr uint32_t kNameBytesMax = 64;       // player and entity ids
inline constexpr uint32_t kReportMembersMax = 512;  // in a CELL_REPORT
inline constexpr uint32_t kPriorityMax = 10;

}  // namespace tidegate::wire
