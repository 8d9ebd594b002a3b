// SPDX-License-Identifier: Apache-2.0
// What the kernel's TCP knows of the connections of one local port: round trip, its variation, what
// was sent again. By one dump over netlink (sock_diag), because a ring's direct descriptors cannot
// be asked by getsockopt. Thread: any that may block (milliseconds). Owner: none. Limits:
// kTcpStatsMax sockets.
#pragma once

#include <cstdint>
#include <map>
#include <utility>

#include "base/ip.h"

namespace tidegate::control {

inline constexpr size_t kTcpStatsMax = 100'000;

struct TcpStats {
  uint32_t rtt_us = 0;
  uint32_t rtt_variation_us = 0;  // the kernel's mean deviation
  uint32_t retransmits = 0;       // segments sent again, since the start
  uint32_t unacked = 0;           // segments on their way
  uint32_t unsent_bytes = 0;      // in the socket, not on their way
};

// The peer's address and port tell the connections of a port apart.
using TcpPeer = std::pair<base::IpAddress, uint16_t>;
struct TcpPeerLess {
  bool operator()(const TcpPeer& a, const TcpPeer& b) const;
};
using TcpStatsMap = std::map<TcpPeer, TcpStats, TcpPeerLess>;

// Established connections of `local_port`; empty when the kernel gives no answer.
TcpStatsMap read_tcp_stats_blocking(uint16_t local_port);

}  // namespace tidegate::control
