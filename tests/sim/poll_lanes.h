// SPDX-License-Identifier: Apache-2.0
// A simulated player's way to the server by HTTP long polling: a client::PollTunnel over two
// connections of the simulated network, which it also cuts at random bytes of answers and requests.
// Thread: one. Owner: a Player. Limits: none.
#pragma once

#include <algorithm>

#include "base/prng.h"
#include "client/client.h"
#include "client/poll_tunnel.h"
#include "io/sim_network.h"

namespace tidegate::sim {

class PollLanes {
 public:
  void start() { tunnel_.start(); }
  void release(io::SimNetwork& network) {
    for (io::SimClientSocket*& lane : lanes_) drop(network, lane);
  }
  // Says goodbye; turn() on until over().
  void leave(base::Instant now) {
    const uint8_t close[] = {0x88, 0x80, 0, 0, 0, 0};
    tunnel_.put(close, now);
  }
  bool over() const { return tunnel_.over() && tunnel_.arrived().empty(); }
  uint64_t cuts() const { return cuts_; }

  // `room`: bytes that are read in this turn.
  void turn(io::SimNetwork& network, uint16_t port, client::Client& client, uint32_t room,
            base::Prng& prng, bool cut) {
    const base::Instant now = network.now();
    if (const base::Bytes out = client.outgoing(); !out.empty() && tunnel_.has_room()) {
      tunnel_.put(out, now);
      client.sent(out.size());
    }
    tunnel_.turn(now);
    uint8_t buffer[8192];
    for (int i = 0; i < client::PollTunnel::kLanes; ++i) {
      io::SimClientSocket*& lane = lanes_[i];
      if (lane != nullptr &&
          (tunnel_.is_done(i) || lane->closed() || (cut && prng.chance(0.0005)))) {
        if (!tunnel_.is_done(i) && !lane->closed()) ++cuts_;
        drop(network, lane);
        tunnel_.lost(i, now);
      }
      if (lane == nullptr && tunnel_.wants_link(i, now)) {
        lane = network.connect(port);
        tunnel_.linked(i);
      }
      if (lane == nullptr) continue;
      const base::Bytes out = tunnel_.outgoing(i);
      if (!out.empty()) {
        // Often not all of it, so that a cut finds a request in its middle.
        const size_t size = prng.chance(0.1) ? 1 + prng.below(out.size()) : out.size();
        tunnel_.sent(i, lane->send(out.first(size)));
      }
      const uint32_t n = lane->receive({buffer, std::min<uint32_t>(room, sizeof buffer)});
      if (n != 0) tunnel_.feed(i, {buffer, n}, now);
    }
    const base::Bytes came = tunnel_.arrived();
    if (came.empty()) return;
    const size_t size = std::min(came.size(), sizeof buffer);
    std::copy_n(came.begin(), size, buffer);
    tunnel_.taken(size);
    client.on_bytes(now, {buffer, size});
  }

 private:
  static void drop(io::SimNetwork& network, io::SimClientSocket*& lane) {
    if (lane != nullptr) network.release(lane);
    lane = nullptr;
  }

  client::PollTunnel tunnel_;
  io::SimClientSocket* lanes_[client::PollTunnel::kLanes] = {};
  uint64_t cuts_ = 0;
};

}  // namespace tidegate::sim
