// SPDX-License-Identifier: Apache-2.0
// What is demanded of a connection before its upgrade: where its address may come from, how many of
// them there may be, which pages may open it. Plain bytes, so that a shard can be given new rules
// while it runs.
// Thread: shard. Owner: Endpoint holds a copy. Limits: kNetworksMax, kOriginBytesMax.
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

#include "base/ip.h"
#include "base/time.h"
#include "net/admission.h"
#include "protocol/forwarded.h"

namespace tidegate::net {

inline constexpr uint32_t kNetworksMax = 64;
inline constexpr uint32_t kOriginBytesMax = 4096;

struct NetworkList {
  uint32_t count = 0;
  base::IpNetwork networks[kNetworksMax];

  bool contains(const base::IpAddress& address) const {
    for (uint32_t i = 0; i < count; ++i) {
      if (networks[i].contains(address)) return true;
    }
    return false;
  }
  // False: the list is full.
  bool add(const base::IpNetwork& network) {
    if (count == kNetworksMax) return false;
    networks[count++] = network;
    return true;
  }
};

// Origins as browsers write them, https://game.example, or with a first label for any number of
// them: https://*.game.example. Empty: every page may connect.
struct OriginList {
  uint32_t bytes = 0;
  char text[kOriginBytesMax] = {};  // separated by spaces

  bool add(std::string_view origin);
  // A request without Origin is no browser's and passes.
  bool allows(std::string_view origin) const;
};

struct EdgeRules {
  bool proxy_required = false;  // a PROXY header before anything else
  protocol::ForwardedField forwarded = protocol::ForwardedField::kNone;
  NetworkList trusted;  // who may speak for others: PROXY header, forwarded addresses
  NetworkList exempt;   // clients that AdmissionLimits do not count
  OriginList origins;
  AdmissionLimits limits;
};

// What of EndpointConfig may change while it runs.
struct LiveLimits {
  EdgeRules edge;
  base::Duration handshake_timeout{};
  base::Duration message_timeout{};
  base::Duration stall_timeout{};
  base::Duration heartbeat_interval{};
  base::Duration heartbeat_timeout{};
  uint32_t extra_frames_per_second = 0;
};
static_assert(std::is_trivially_copyable_v<LiveLimits>, "it crosses to shards as bytes");

// Bits of Cold::edge.
enum EdgeFlag : uint8_t {
  kEdgePeerKnown = 1,    // the kernel was asked who the peer is, and answered
  kEdgeAwaitsProxy = 2,  // the first bytes are to be a PROXY header
  kEdgeAdmitted = 4,     // AdmissionTables were asked
  kEdgeCounted = 8,      // and count it: to be given back at the end
  kEdgeHttp = 16,        // requests of long polling came; it never becomes a WebSocket
};

}  // namespace tidegate::net
