// SPDX-License-Identifier: Apache-2.0
// A deterministic network in one thread with virtual time: reliable in-order byte streams between
// test clients and SimIos, with seeded latency, jitter, fragmentation, narrow send windows, stalls
// and resets. The same seed and the same calls give the same events; trace_hash() proves it.
//
// The driver owns time:
//   for (;;) { turn of each shard; act for the clients;
//              network.advance_to(min(network.next_event_time(), shards' deadlines)); }
// It models what TCP shows to programs (FIN, RST, half-close, a window), not packets.
//
// Thread: one. Owner: the test owns the network; it must outlive its SimIos. Limits: memory grows
// with open links; it is for tests and may allocate.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/prng.h"
#include "base/time.h"

namespace tidegate::io {

class SimIo;
class SimNetwork;
struct SimLink;

struct SimConfig {
  base::Duration latency = base::milliseconds(5);  // one way
  base::Duration jitter{};                         // 0..jitter is added, order is kept
  uint32_t chunk_bytes_max = 0;        // a send travels in pieces of 1..max bytes; 0: 64 KiB pieces
  uint32_t window_bytes = 256 * 1024;  // sent but not yet read by the peer, for each direction
  double stall_probability = 0;        // of a piece: it and all behind it wait `stall` longer
  base::Duration stall = base::milliseconds(300);
  double reset_probability = 0;  // of a piece: the link breaks when it arrives
  double starvation_probability =
      0;  // of a receive: it ends for want of a buffer, goes on 1 ms later
  base::UnixMs unix_start_ms = 1'700'000'000'000;  // wall clock at virtual time 0
};

// The client end of a link. Made by SimNetwork::connect, owned by the network until release().
class SimClientSocket {
 public:
  // Bytes taken: what fits into the window, 0 when it is full or the link is over.
  uint32_t send(base::Bytes bytes);
  // Bytes read, 0 when nothing has arrived.
  uint32_t receive(base::MutableBytes out);
  uint32_t readable_bytes() const;
  void finish();  // half-close: FIN behind what was sent
  void close();   // like close(2): FIN, or RST when received bytes are unread
  void reset();   // RST at once

  bool accepted() const;  // a server gave it a slot
  bool ended() const;     // the server's FIN came and everything before it was read
  bool broken() const;    // refused or reset, by either side
  bool closed() const { return ended() || broken(); }
  const sockaddr_in6& address() const;

 private:
  friend class SimNetwork;
  friend class SimIo;
  SimClientSocket(SimNetwork& network, SimLink& link) : network_(network), link_(link) {}
  SimNetwork& network_;
  SimLink& link_;
};

class SimNetwork {
 public:
  SimNetwork(uint64_t seed, const SimConfig& config);
  ~SimNetwork();
  SimNetwork(const SimNetwork&) = delete;
  SimNetwork& operator=(const SimNetwork&) = delete;

  // Opens a link to `port`. Several SimIos may listen there; a hash of the client's address picks
  // one (SO_REUSEPORT). `from`: the client's address, or null for a fresh one. Never null; a link
  // that nobody listens for is broken() one round trip later.
  SimClientSocket* connect(uint16_t port, const sockaddr_in6* from = nullptr);
  // Gives the client end back; closes it first when it is open.
  void release(SimClientSocket* socket);

  base::Instant now() const { return now_; }
  base::UnixMs unix_ms() const { return config_.unix_start_ms + now_.ns / 1'000'000; }
  // now() when a SimIo has something to hand out by poll, else the time of the next arrival,
  // never() when nothing is under way.
  base::Instant next_event_time() const;
  // Moves time on and lets everything due until `t` arrive. Going back has no effect.
  void advance_to(base::Instant t);

  // Faults may be switched while it runs.
  SimConfig& config() { return config_; }
  uint64_t trace_hash() const {
    return trace_hash_;
  }  // over every arrival: time, kind, link, bytes
  uint32_t link_count() const { return static_cast<uint32_t>(links_.size()); }

 private:
  friend class SimClientSocket;
  friend class SimIo;

  enum class Arrival : uint8_t { kSyn, kData, kFin, kReset, kCredit, kResume };
  enum class Direction : uint8_t { kToServer, kToClient };
  struct Travel {  // something under way
    base::Instant due;
    uint64_t order;  // ties go in sending order
    uint32_t link;
    uint32_t bytes;
    Arrival arrival;
    Direction direction;
  };
  struct Later {
    bool operator()(const Travel& a, const Travel& b) const {
      return a.due != b.due ? a.due > b.due : a.order > b.order;
    }
  };

  // For SimIo: listening.
  void add_listener(uint16_t port, SimIo* io);
  void remove_listener(SimIo* io);
  uint16_t free_port() const;

  uint32_t transmit(SimLink& link, Direction direction, base::Bytes bytes);
  uint32_t space(SimLink& link, Direction direction) const;
  void push_travel(base::Instant due, Arrival arrival, const SimLink& link, Direction direction,
                   uint32_t bytes);
  void travel(Arrival arrival, SimLink& link, Direction direction, uint32_t bytes);
  void resume_later(SimLink& link);
  void finish(SimLink& link, Direction direction);
  void reset(SimLink& link, Direction direction);  // RST towards `direction`
  uint32_t read(SimLink& link, Direction direction, uint8_t* out, uint32_t capacity);
  void arrive(const Travel& travel);
  void arrive_syn(SimLink& link);
  void answer_reset(SimLink& link, Direction arrived);
  void refuse(SimLink& link);  // RST to a client that gets no slot
  void break_link(SimLink& link);
  void forget_if_over(SimLink& link);
  void attach(SimIo* io);
  void detach(SimIo* io);

  SimConfig config_;
  base::Prng prng_;
  base::Instant now_{};
  uint64_t order_ = 0;
  uint64_t trace_hash_ = 0x9e3779b97f4a7c15u;
  uint32_t next_link_ = 1;
  uint32_t next_client_ = 1;
  std::vector<Travel> heap_;
  std::map<uint32_t, std::unique_ptr<SimLink>> links_;
  std::map<uint16_t, std::vector<SimIo*>> listeners_;
  std::vector<SimIo*> ios_;
};

}  // namespace tidegate::io
