// SPDX-License-Identifier: Apache-2.0
// Limits of the wire (protocol.md), in bytes, and the names of the subprotocols.
// Thread: any. Owner: none. Limits: these.
#pragma once

#include <cstdint>
#include <string_view>

namespace tidegate::wire {

inline constexpr uint32_t kMessageBytesIn = 64 * 1024;   // default limit of one WebSocket message
inline constexpr uint32_t kMessageBytesOut = 60 * 1024;  // what the server puts into one
inline constexpr uint32_t kHeartbeatBytesMax = 125;
inline constexpr uint32_t kNameBytesMax = 64;       // player and entity ids
inline constexpr uint32_t kReportMembersMax = 512;  // in a CELL_REPORT
inline constexpr uint32_t kPriorityMax = 10;

// Subprotocols in the server's order: the first that a client offers is spoken.
inline constexpr std::string_view kSubprotocols[] = {"tidegate.v1.proto", "tidegate.v1.json"};
inline constexpr uint8_t kSubprotocolJson = 1;  // its place in the list

}  // namespace tidegate::wire
