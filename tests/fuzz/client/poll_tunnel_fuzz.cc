// SPDX-License-Identifier: Apache-2.0
// A server of long polling that answers anything: the tunnel between a WebSocket client and two
// HTTP connections takes it in any pieces, loses its lanes at any time, and what it hands up is
// what a WebSocket client can read. Input: operations, a byte that says what and how much.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "client/poll_tunnel.h"
#include "client/ws_stream.h"

namespace {

using namespace tidegate;

void check(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  client::PollTunnel tunnel;
  client::WsStream stream(1, 1 << 20);
  base::Instant now{1'000'000'000};
  protocol::UpgradeOffer offer;
  offer.host = "h";
  offer.subprotocols = "tidegate.v1.proto";
  check(stream.start(offer));
  tunnel.start();
  for (size_t at = 0; at < size;) {
    const uint8_t what = data[at++];
    const int lane = what & 1;
    if (!stream.outgoing().empty() && tunnel.has_room()) {
      const size_t out = stream.outgoing().size();
      tunnel.put(stream.outgoing(), now);
      stream.sent(out);
    }
    for (int i = 0; i < client::PollTunnel::kLanes; ++i) {
      if (tunnel.is_done(i)) tunnel.lost(i, now);
      if (tunnel.wants_link(i, now)) tunnel.linked(i);
      tunnel.sent(i, tunnel.outgoing(i).size());
    }
    switch (what >> 1 & 3) {
      case 0: {  // the server says something
        const size_t bytes = std::min<size_t>((what >> 3) * size_t{8}, size - at);
        tunnel.feed(lane, {data + at, bytes}, now);
        at += bytes;
        break;
      }
      case 1:
        tunnel.lost(lane, now);
        break;
      case 2:
        now = now + base::milliseconds((what >> 3) * 100);
        tunnel.turn(now);
        break;
      default:
        if (!stream.upgrading() && !stream.over()) {
          const uint8_t message[16] = {what};
          stream.send_binary(message);
        }
    }
    std::vector<uint8_t> came(tunnel.arrived().begin(), tunnel.arrived().end());
    if (came.empty()) continue;
    tunnel.taken(came.size());
    stream.feed(came);
    for (client::StreamEvent event; (event = stream.next()) != client::StreamEvent::kNone;) {
      // The close stands behind everything, and nothing follows.
      if (event == client::StreamEvent::kClosed) check(tunnel.over() && tunnel.arrived().empty());
    }
    stream.settle();
  }
  return 0;
}
